//! The node's identity (spec 12.2) and the key of the control service.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use libp2p::identity::{Keypair, ed25519};
use peerage_proto::hex;

use super::files;
use crate::fault::{Fault, code};
use crate::settings::Secret;

/// The identity: from the setting, else from the file, else a new one, which is saved.
///
/// # Errors
/// In the words of spec 12.1, rows 10 and 11.
pub fn identity(setting: &Secret, path: &Path) -> Result<Keypair, Fault> {
    if !setting.reveal().is_empty() {
        return parse(setting.reveal()).map_err(|problem| {
            Fault::new(code::CONFIG, format!("setting `p2p_private_key`: {problem}"), FORM)
        });
    }
    match fs::read(path) {
        Ok(bytes) => read(&bytes, path),
        Err(error) if error.kind() == ErrorKind::NotFound => create(path),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// In the words of spec 12.1, row 10, with the remedy that fits.
fn unreadable(path: &Path, error: &io::Error) -> Fault {
    let problem = format!("error reading private key file {}: {error}", path.display());
    if error.kind() == ErrorKind::PermissionDenied {
        let remedy = "make it readable for this user alone (chmod 600, chown)";
        return Fault::new(code::PERMISSION, problem, remedy);
    }
    if error.kind() == ErrorKind::IsADirectory {
        let remedy =
            "a folder stands where the key file belongs: move it away, or name another in p2p_peer_cache_dir";
        return Fault::new(code::DATA, problem, remedy);
    }
    Fault { problem, ..files::cannot_read(path, error) }
}

const FORM: &str = "give 128 hex characters (seed, public key) or 192 (seed, public key, public key)";

fn read(bytes: &[u8], path: &Path) -> Result<Keypair, Fault> {
    private_mode(path)?;
    let text = String::from_utf8_lossy(bytes);
    parse(text.trim()).map_err(|problem| {
        Fault::new(
            code::DATA,
            format!("private key file {}: {problem}", path.display()),
            format!("{FORM}, restore the file from a backup, or move it away to get a new identity"),
        )
    })
}

fn create(path: &Path) -> Result<Keypair, Fault> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Fault::new(code::SYSTEM, format!("failed to generate P2P private key: {error}"), "")
    })?;
    let key = from_seed(seed).map_err(|error| Fault::new(code::SYSTEM, error, ""))?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| {
            let problem = format!("failed to create directory for private key {}: {error}", path.display());
            Fault { problem, ..files::cannot_create(path, &error) }
        })?;
    }
    files::replace(path, to_text(&key).as_bytes(), 0o600).map_err(|error| {
        let problem = format!("failed to save private key to file {}: {error}", path.display());
        Fault { problem, ..files::cannot_create(path, &error) }
    })?;
    Ok(key.into())
}

fn from_seed(mut seed: [u8; 32]) -> Result<ed25519::Keypair, String> {
    let secret = ed25519::SecretKey::try_from_bytes(&mut seed).map_err(|error| error.to_string())?;
    Ok(secret.into())
}

/// The form of new files: seed, public key, public key again; 192 hex characters.
fn to_text(key: &ed25519::Keypair) -> String {
    hex::encode(&[&key.to_bytes()[..], &key.public().to_bytes()].concat())
}

/// Reads the hex form of 64 or 96 bytes.
fn parse(text: &str) -> Result<Keypair, String> {
    let bytes = hex::decode(text).ok_or_else(|| "failed to decode key: it is not hex".to_owned())?;
    let wrong = |why: &str| format!("failed to unmarshal key: {why}");
    let pair = match bytes.len() {
        64 => &bytes[..],
        96 if bytes[64..] == bytes[32..64] => &bytes[..64],
        96 => return Err(wrong("the repeated public key differs")),
        length => return Err(wrong(&format!("{length} bytes, and 64 or 96 are wanted"))),
    };
    let mut pair = pair.to_vec();
    let key = ed25519::Keypair::try_from_bytes(&mut pair)
        .map_err(|_| wrong("the public key is not that of the seed"))?;
    Ok(key.into())
}

/// Refuses a key file that others may read.
fn private_mode(path: &Path) -> Result<(), Fault> {
    let metadata = fs::metadata(path).map_err(|error| files::cannot_read(path, &error))?;
    match metadata.mode() & 0o777 {
        mode if mode & 0o077 == 0 => Ok(()),
        mode => Err(Fault::new(
            code::PERMISSION,
            format!("key file {}: its mode is {mode:03o}, so that others can read it", path.display()),
            format!("chmod 600 {}", path.display()),
        )),
    }
}

/// The key of the control service: read, or made on first use.
///
/// # Errors
/// When the file cannot be read or made, or others may read it.
pub fn admin_key(path: &Path) -> Result<Secret, Fault> {
    if !path.exists() {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Fault::new(code::SYSTEM, format!("no randomness: {error}"), ""))?;
        let text = hex::encode(&bytes);
        files::replace(path, text.as_bytes(), 0o600).map_err(|error| files::cannot_create(path, &error))?;
    }
    read_admin_key(path)
}

/// The key of the control service of a node that was started before.
///
/// # Errors
/// When the file is missing, unreadable, empty, or may be read by others.
pub fn read_admin_key(path: &Path) -> Result<Secret, Fault> {
    let text = fs::read_to_string(path).map_err(|error| files::cannot_read(path, &error))?;
    private_mode(path)?;
    match text.trim() {
        "" => Err(Fault::new(
            code::DATA,
            format!("key file {}: it is empty", path.display()),
            "remove it; the node makes a new one at its next start",
        )),
        text => Ok(Secret::new(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::tests::Scratch;
    use std::os::unix::fs::PermissionsExt as _;

    fn none() -> Secret {
        Secret::default()
    }

    #[test]
    fn t145_the_first_start_makes_a_key_file_and_the_second_finds_the_same_id() {
        let scratch = Scratch::new();
        let path = scratch.0.join("sub/p2p.key");
        let first = identity(&none(), &path).unwrap().public().to_peer_id();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() == 192 && text.bytes().all(|byte| byte.is_ascii_hexdigit()), "{text}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(identity(&none(), &path).unwrap().public().to_peer_id(), first);
    }

    #[test]
    fn t146_the_known_public_key_gives_the_known_id() {
        let key = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let id = parse(key).unwrap().public().to_peer_id().to_base58();
        assert_eq!(id, "12D3KooWQK1wnefoLrcVHbbnf5tLzbopUd3K3bFAoJpA7YJgL5pV");
    }

    #[test]
    fn t147_both_lengths_give_the_same_id_and_a_differing_repetition_is_refused() {
        let key = from_seed([1; 32]).unwrap();
        let long = to_text(&key);
        let id = |text: &str| parse(text).map(|key| key.public().to_peer_id());
        assert_eq!(id(&long[..128]).unwrap(), id(&long).unwrap());
        assert_eq!(id(&long).unwrap().to_base58(), "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5");
        let flipped = if long.ends_with('0') { '1' } else { '0' };
        let differing = format!("{}{flipped}", &long[..191]);
        assert_eq!(
            parse(&differing).unwrap_err(),
            "failed to unmarshal key: the repeated public key differs"
        );
        assert!(parse(&long[..64]).unwrap_err().starts_with("failed to unmarshal key"));
        assert!(parse("xyz").unwrap_err().starts_with("failed to decode key"));
    }

    #[test]
    fn white_space_around_the_key_is_trimmed() {
        let scratch = Scratch::new();
        let path = scratch.0.join("p2p.key");
        files::replace(&path, format!("  {}\n", to_text(&from_seed([1; 32]).unwrap())).as_bytes(), 0o600)
            .unwrap();
        assert!(identity(&none(), &path).is_ok());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_remedy() {
        let scratch = Scratch::new();
        let path = scratch.0.join("p2p.key");
        identity(&none(), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let fault = identity(&none(), &path).unwrap_err();
        assert_eq!(fault.code, code::PERMISSION);
        assert!(fault.problem.contains("644") && fault.remedy.starts_with("chmod 600"), "{fault}");
    }

    #[test]
    fn a_folder_in_place_of_the_key_is_named_as_one() {
        let scratch = Scratch::new();
        let path = scratch.0.join("p2p.key");
        fs::create_dir(&path).unwrap();
        let fault = identity(&none(), &path).unwrap_err();
        assert_eq!(fault.code, code::DATA);
        assert!(fault.remedy.contains("a folder") && !fault.remedy.contains("chmod"), "{fault}");
    }

    #[test]
    fn a_key_that_is_no_key_is_left_alone() {
        let scratch = Scratch::new();
        let path = scratch.0.join("p2p.key");
        files::replace(&path, b"not hex", 0o600).unwrap();
        let fault = identity(&none(), &path).unwrap_err();
        assert_eq!(fault.code, code::DATA);
        assert_eq!(fs::read(&path).unwrap(), b"not hex");
    }

    #[test]
    fn the_admin_key_is_made_once() {
        let scratch = Scratch::new();
        let path = scratch.0.join("admin.key");
        let first = admin_key(&path).unwrap();
        assert_eq!(first.reveal().len(), 64);
        assert!(admin_key(&path).unwrap() == first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
