//! Documents on disk: written where that blocks nobody, one after the other.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use peerage_core::input::{Document, Input, OpResult, StoreError};
use peerage_core::op::OpId;

use crate::data_dir::files;
use crate::runtime::{self, Shared};

/// Longest document that is read.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// The store.
pub struct FileStore {
    runtime: Shared,
    folder: PathBuf,
    /// Documents that are broken and could not be set aside: they are not overwritten.
    kept: Vec<Document>,
    waiting: VecDeque<(OpId, Document, Bytes)>,
    writing: Option<(OpId, BoxFuture<'static, Option<io::Result<()>>>)>,
    is_down: bool,
    health: VecDeque<Input>,
}

impl std::fmt::Debug for FileStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileStore")
            .field("folder", &self.folder)
            .field("waiting", &self.waiting.len())
            .finish()
    }
}

/// The file's name in the folder.
pub const fn name(document: Document) -> &'static str {
    match document {
        Document::AddressCache => "teranode_peers.json",
    }
}

impl FileStore {
    /// A store in `folder`.
    pub fn new(runtime: Shared, folder: PathBuf) -> Self {
        let (waiting, health) = (VecDeque::new(), VecDeque::new());
        Self { runtime, folder, kept: Vec::new(), waiting, writing: None, is_down: false, health }
    }

    /// Reads a document; none when there is none yet.
    ///
    /// # Errors
    /// When it is there and cannot be read, or is too long.
    pub fn load(&self, document: Document) -> io::Result<Option<Bytes>> {
        read(&self.path(document))
    }

    /// Where a document is.
    pub fn path(&self, document: Document) -> PathBuf {
        self.folder.join(name(document))
    }

    /// Replaces a document. Answered by [`FileStore::poll_next`].
    pub fn start(&mut self, op: OpId, document: Document, content: Bytes) {
        self.waiting.push_back((op, document, content));
    }

    /// Keeps what is there of a document: from now on it is not written.
    pub fn keep(&mut self, document: Document) {
        self.kept.push(document);
    }

    /// Whether nothing waits to be written.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.writing.is_none()
    }

    /// The next completion, or news of the disk.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Input> {
        if let Some(input) = self.health.pop_front() {
            return Poll::Ready(input);
        }
        if self.writing.is_none() {
            let Some((op, document, content)) = self.waiting.pop_front() else { return Poll::Pending };
            let path = self.path(document);
            let kept = self.kept.contains(&document);
            let write = move || match kept {
                true => Err(io::Error::other("it is broken, and could not be set aside")),
                false => files::replace(&path, &content, 0o600),
            };
            self.writing = Some((op, runtime::unblock(&*self.runtime, write).boxed()));
        }
        let Some((op, write)) = &mut self.writing else { return Poll::Pending };
        let op = *op;
        match write.poll_unpin(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(done) => {
                self.writing = None;
                let done = done.unwrap_or_else(|| Err(io::Error::other("the writer is gone")));
                self.watch(&done);
                Poll::Ready(Input::Op(op, OpResult::Stored(done.map_err(|error| store_error(&error)))))
            }
        }
    }

    /// Tells when the disk fails and when it works again.
    fn watch(&mut self, done: &io::Result<()>) {
        let detail = match done {
            Ok(()) => String::new(),
            Err(error) => format!("{} cannot be written: {error}", self.folder.display()),
        };
        if done.is_err() != self.is_down {
            self.is_down = done.is_err();
            let neighbour = peerage_core::input::Neighbour::Store;
            self.health.push_back(Input::Health { neighbour, up: !self.is_down, detail });
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Bytes>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = Vec::new();
    file.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("longer than {DOCUMENT_BYTES_MAX} bytes"),
        ));
    }
    Ok(Some(content.into()))
}

fn store_error(error: &io::Error) -> StoreError {
    if files::is_full(error) { StoreError::Full } else { StoreError::Failed(error.to_string()) }
}
