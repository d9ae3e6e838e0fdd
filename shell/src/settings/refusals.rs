//! What is refused, and how it is told.

use super::*;

fn loaded(file: &str, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, ConfigError> {
    let own =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let files = if file.is_empty() { vec![] } else { vec![("my.conf".into(), file.to_owned())] };
    Settings::load(&Sources { files, environment: own(environment), flags: own(flags) })
}

fn refused(key: &str, value: &str) -> ConfigError {
    match loaded("", &[], &[(key, value)]) {
        Err(error) => error,
        Ok(_) => panic!("{key} = {value} is taken"),
    }
}

#[test]
fn a_profile_that_there_is_not_is_refused_wherever_it_stands() {
    for (error, origin) in [
        (loaded("", &[], &[("profile", "foo")]), "--set"),
        (loaded("clientName = x\nprofile = foo\n", &[], &[]), "my.conf:2"),
        (loaded("", &[("profile", "foo")], &[]), "environment"),
    ] {
        let error = error.unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.value.as_str(), error.origin.as_str()),
            ("profile", "foo", origin)
        );
        assert_eq!(error.remedy, "use one of: dev, standard");
    }
    assert_eq!(loaded("", &[], &[("profile", "")]).unwrap().profile, "dev", "empty: the default");
    assert_eq!(loaded("profile = dev\n", &[], &[]).unwrap().profile, "dev");
    assert_eq!(loaded("", &[], &[("profile", "standard")]).unwrap().profile, "standard");
}

#[test]
fn a_number_out_of_range_is_told_with_the_range() {
    for (key, value, range) in [
        ("p2p_port", "65536", "1 to 65535"),
        ("p2p_port", "-1", "1 to 65535"),
        ("p2p_port", "99999999999999999999999999999999999999999999", "1 to 65535"),
        ("p2p_pending_handshakes_max", "0", "1 to 4294967295"),
        ("p2p_pending_per_address_max", "0", "1 to 4294967295"),
        ("p2p_connections_per_address_max", "0", "1 to 4294967295"),
        ("p2p_bytes_per_second_max", "1", "65536 to 18446744073709551615"),
        ("p2p_messages_per_second_max", "0", "100 to 18446744073709551615"),
        ("p2p_peer_map_max_size", "0", "1 to 4294967295"),
        ("p2p_peer_map_max_size", "-1", "1 to 4294967295"),
        ("p2p_websocket_max_connections", "-1", "0 to 4294967295"),
        ("produce_inflight_max", "0", "1 to 4294967295"),
        ("subscriber_frames_max", "0", "1 to 4294967295"),
        ("p2p_seen_hash_max_publishers", "0", "1 to 4294967295"),
    ] {
        let error = refused(key, value);
        assert_eq!((error.key.as_str(), error.value.as_str(), error.origin.as_str()), (key, value, "--set"));
        assert_eq!(error.problem, format!("out of range: {range}"));
    }
    assert_eq!(refused("p2p_port", "1e3").problem, "not a number");
    assert_eq!(refused("p2p_port", "-").problem, "not a number");
    assert!(loaded("", &[], &[("p2p_bytes_per_second_max", "65536")]).is_ok());
    assert!(loaded("", &[], &[("p2p_messages_per_second_max", "100")]).is_ok());
}

#[test]
fn an_interval_that_would_keep_the_node_busy_is_refused() {
    for value in ["0s", "0", "1ns", "999ms"] {
        let error = refused("p2p_peer_map_cleanup_interval", value);
        assert_eq!((error.value.as_str(), error.problem.as_str()), (value, "out of range: 1s to 24h"));
    }
    assert!(loaded("", &[], &[("p2p_peer_map_cleanup_interval", "1s")]).is_ok());
    assert!(loaded("", &[], &[("p2p_peer_map_cleanup_interval", "")]).is_ok(), "empty: the default");
}

#[test]
fn a_secret_is_put_into_no_other_value() {
    const KEY: &str = "00112233445566778899aabbccddeeff";
    let stands = format!("p2p_private_key.docker = {KEY}\nclientName = ${{p2p_private_key.docker}}\n");
    let chain = "clientName = ${MIDDLE}\nMIDDLE = ${p2p_private_key}\n".to_owned();
    for (file, environment, flags) in [
        (stands, vec![], vec![]),
        (chain, vec![("p2p_private_key", KEY)], vec![]),
        (String::new(), vec![("p2p_private_key", KEY)], vec![("clientName", "a-${p2p_private_key}")]),
        (String::new(), vec![], vec![("p2p_private_key", KEY), ("network", "${p2p_private_key}")]),
        (String::new(), vec![("p2p_shared_key", ""), ("clientName", "${p2p_shared_key}")], vec![]),
        (format!("RAW = {KEY}\np2p_private_key = ${{RAW}}\nclientName = ${{RAW}}\n"), vec![], vec![]),
        (String::new(), vec![("p2p_other", "${grpc_admin_api_key}")], vec![("clientName", "${p2p_other}")]),
    ] {
        let error = loaded(&file, &environment, &flags).unwrap_err();
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
        assert!(error.problem.contains("secret") && !error.origin.is_empty(), "{error:?}");
    }
}

#[test]
fn a_reference_is_replaced_by_what_the_highest_layer_says() {
    let file = "clientName = ${network}-${HOME}\nnetwork = testnet\n";
    let name = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        loaded(file, environment, flags).unwrap().teranode.client_name
    };
    assert_eq!(name(&[], &[]), "testnet-{HOME}", "a name that nothing sets stays, as in the reference");
    assert_eq!(name(&[("network", "stn")], &[]), "stn-{HOME}");
    assert_eq!(name(&[("network", "stn")], &[("network", "regtest")]), "regtest-{HOME}");
}

#[test]
fn a_text_that_makes_every_message_too_long_is_refused() {
    let long = |length| "x".repeat(length);
    for (key, longest) in [
        ("clientName", 256),
        ("p2p_topic_prefix", 256),
        ("p2p_block_topic", 256),
        ("p2p_node_status_topic", 256),
        ("asset_httpAddress", 2048),
        ("asset_httpPublicAddress", 2048),
    ] {
        assert!(loaded("", &[], &[(key, &long(longest))]).is_ok(), "{key}");
        let error = refused(key, &long(longest + 1));
        assert_eq!((error.key.as_str(), error.origin.as_str()), (key, "--set"));
        assert_eq!(error.problem, format!("{} bytes, and at most {longest} are taken", longest + 1));
        assert!(error.value.len() < 100, "the text is not told whole");
    }
}

#[test]
fn a_fee_is_a_finite_number_that_is_not_below_zero() {
    for value in ["nan", "inf", "1e400", "-1"] {
        assert!(refused("minminingtxfee", value).problem.starts_with("out of range"), "{value}");
    }
    assert_eq!(refused("minminingtxfee", "x").problem, "not a number");
    assert_eq!(loaded("", &[], &[("minminingtxfee", "0.5")]).unwrap().teranode.min_mining_tx_fee, Some(0.5));
}

#[test]
fn two_kinds_of_message_on_one_topic_are_refused() {
    let error = refused("p2p_block_topic", "subtree");
    assert_eq!((error.key.as_str(), error.value.as_str()), ("p2p_block_topic", "subtree"));
    assert!(error.problem.contains("p2p_subtree_topic"), "{error}");
    let error = refused("p2p_rejected_tx_topic", "node_status");
    assert!(error.problem.contains("p2p_node_status_topic"), "an empty one has a name: {error}");
}

#[test]
fn an_empty_prefix_is_told_under_its_own_name() {
    let error = refused("p2p_topic_prefix", "");
    assert_eq!((error.key.as_str(), error.origin.as_str()), ("p2p_topic_prefix", "--set"));
    assert_eq!(error.problem, "missing config ChainCfgParams.TopicPrefix");
}

#[test]
fn a_file_may_begin_with_a_byte_order_mark_and_control_characters_are_escaped() {
    assert_eq!(loaded("\u{feff}clientName = x\n", &[], &[]).unwrap().teranode.client_name, "x");
    assert_eq!(loaded("p2p\0port = 5\n", &[], &[]).unwrap_err().key, "p2p\\0port");
    assert_eq!(loaded("non\0sense\n", &[], &[]).unwrap_err().key, "non\\0sense");
}

#[test]
fn a_peer_that_is_not_reached_by_tcp_is_refused() {
    let id = PeerId::from_ed25519(&[1; 32]).to_base58();
    for key in ["p2p_bootstrap_peers", "p2p_static_peers"] {
        for item in [format!("/ip4/127.0.0.1/udp/1/quic-v1/p2p/{id}"), format!("/p2p/{id}")] {
            let error = refused(key, &format!("/ip4/127.0.0.1/tcp/1/p2p/{id}|{item}"));
            assert_eq!((error.key.as_str(), error.value.as_str()), (key, item.as_str()));
            assert!(error.problem.contains("only TCP"), "{error}");
        }
        for item in ["/dns4/example.com/tcp/1", "/dnsaddr/example.com", "/ip6/::1/tcp/1"] {
            assert!(loaded("", &[], &[(key, &format!("{item}/p2p/{id}"))]).is_ok(), "{item}");
        }
    }
    assert!(loaded("", &[], &[("p2p_bootstrap_peers", "/dnsaddr/example.com|/ip4/127.0.0.1/tcp/1")]).is_ok());
}

#[test]
fn a_memory_contract_lowers_the_limits_and_too_small_a_one_says_the_least() {
    let error = refused("memory_max", "15MiB");
    assert_eq!((error.key.as_str(), error.origin.as_str()), ("memory_max", "--set"));
    assert_eq!(error.problem, "too little: the least possible is 16 MiB");
    for nonsense in ["24MB", "24 megabytes", "MiB", "-1", "1.5GiB", "99999999999999999GiB"] {
        assert_eq!(refused("memory_max", nonsense).problem, "not a number of bytes", "{nonsense}");
    }
    let without = loaded("", &[], &[]).unwrap();
    assert_eq!((without.memory_max, without.limits), (None, Limits::default()));
    for spelling in ["24MiB", "24 MiB", "24576KiB", "25165824"] {
        let bounded = loaded("", &[], &[("memory_max", spelling)]).unwrap();
        assert_eq!(bounded.memory_max, Some(24 << 20), "{spelling}");
        assert_eq!(bounded.limits.connections_max, 64);
        assert_eq!(bounded.feed_limits.clients_max, 96);
    }
    let lower = loaded("", &[], &[("memory_max", "24MiB"), ("connections_max", "40")]).unwrap();
    assert_eq!(lower.limits.connections_max, 40, "what is lower already stays");
}
