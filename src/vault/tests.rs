//! The vault's promises: what was sealed opens in its own place and nowhere else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn ring(ids: &[&str]) -> KeyRing {
    let keys: Vec<_> = ids.iter().map(|id| new_master_key(id).unwrap()).collect();
    let lines: Vec<_> = keys.iter().map(|key| key.as_str()).collect();
    KeyRing::parse(&lines.join("\n")).unwrap()
}

fn data_key(tenant: &str) -> DataKey {
    ring(&["k1"]).new_data_key(tenant).unwrap().0
}

#[test]
fn opens_what_it_sealed_also_after_unwrapping() {
    let ring = ring(&["k1"]);
    let (key, wrapped) = ring.new_data_key("acme").unwrap();
    let sealed = key.seal(b"s3cret", "row-1", Purpose::Credential).unwrap();
    let again = ring.unwrap("acme", &wrapped).unwrap();
    let opened = again.open(&sealed, "row-1", Purpose::Credential).unwrap();
    assert_eq!(opened.as_slice(), b"s3cret");
}

#[test]
fn an_empty_secret_survives() {
    let key = data_key("acme");
    let sealed = key.seal(b"", "row-1", Purpose::Credential).unwrap();
    assert!(
        key.open(&sealed, "row-1", Purpose::Credential)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_moved_ciphertext_does_not_open() {
    let ring = ring(&["k1"]);
    let (key, wrapped) = ring.new_data_key("acme").unwrap();
    let sealed = key.seal(b"s3cret", "row-1", Purpose::Credential).unwrap();
    let other_row = key.open(&sealed, "row-2", Purpose::Credential);
    let other_purpose = key.open(&sealed, "row-1", Purpose::NotificationSecret);
    assert_eq!(other_row.unwrap_err(), VaultError::DoesNotOpen);
    assert_eq!(other_purpose.unwrap_err(), VaultError::DoesNotOpen);
    // The key itself, stored in another tenant's row.
    assert_eq!(
        ring.unwrap("umbrella", &wrapped).err(),
        Some(VaultError::DoesNotOpen)
    );
}

#[test]
fn another_tenants_key_does_not_open_even_with_the_same_bytes() {
    let key = data_key("acme");
    let twin = DataKey {
        tenant: "umbrella".to_owned(),
        key: key.key.clone(),
    };
    let sealed = key.seal(b"s3cret", "row-1", Purpose::Credential).unwrap();
    let opened = twin.open(&sealed, "row-1", Purpose::Credential);
    assert_eq!(opened.unwrap_err(), VaultError::DoesNotOpen);
}

#[test]
fn parts_of_a_place_cannot_be_shifted() {
    assert_ne!(place(&["ab", "c", "d"]), place(&["a", "bc", "d"]));
    assert_ne!(place(&["ab", "", "d"]), place(&["", "ab", "d"]));
}

#[test]
fn every_changed_byte_and_every_cut_is_noticed() {
    let key = data_key("acme");
    let sealed = key.seal(b"s3cret", "row-1", Purpose::Credential).unwrap();
    for index in 0..sealed.0.len() {
        let mut changed = sealed.clone();
        changed.0[index] ^= 1;
        assert!(
            key.open(&changed, "row-1", Purpose::Credential).is_err(),
            "byte {index}"
        );
        let cut = Sealed(sealed.0[..index].to_vec());
        assert!(
            key.open(&cut, "row-1", Purpose::Credential).is_err(),
            "cut at {index}"
        );
    }
}

#[test]
fn the_same_secret_is_never_sealed_to_the_same_bytes() {
    let key = data_key("acme");
    let seal = || key.seal(b"s3cret", "row-1", Purpose::Credential).unwrap();
    assert_ne!(seal(), seal());
}

#[test]
fn an_unknown_master_key_is_named() {
    let (_, wrapped) = ring(&["old"]).new_data_key("acme").unwrap();
    let why = ring(&["new"]).unwrap("acme", &wrapped).err().unwrap();
    assert_eq!(why, VaultError::UnknownKey("old".to_owned()));
    assert!(why.to_string().contains("`old`"));
}

#[test]
fn rotation_keeps_the_data_key_and_changes_its_wrapping() {
    let old = new_master_key("old").unwrap();
    let both = KeyRing::parse(&format!("{},{}", *new_master_key("new").unwrap(), *old)).unwrap();
    let (key, wrapped) = KeyRing::parse(&old).unwrap().new_data_key("acme").unwrap();
    let sealed = key.seal(b"s3cret", "row-1", Purpose::Credential).unwrap();
    let rewrapped = both.wrap(&both.unwrap("acme", &wrapped).unwrap()).unwrap();
    assert_eq!(rewrapped.key_id, "new");
    let key = both.unwrap("acme", &rewrapped).unwrap();
    assert!(key.open(&sealed, "row-1", Purpose::Credential).is_ok());
}

#[test]
fn bad_key_rings_are_refused_without_quoting_keys() {
    let short = STANDARD.encode([7; 31]);
    let good = STANDARD.encode([7; 32]);
    for (text, expected) in [
        (String::new(), KeyRingError::Empty),
        ("# only a comment\n".to_owned(), KeyRingError::Empty),
        (good.clone(), KeyRingError::Malformed(1)),
        (format!("a b:{good}"), KeyRingError::Malformed(1)),
        (format!("k1:{good},{good}"), KeyRingError::Malformed(2)),
        (
            format!("k1:{short}"),
            KeyRingError::WrongLength("k1".to_owned()),
        ),
        (
            format!("k1:{good},k1:{good}"),
            KeyRingError::Duplicate("k1".to_owned()),
        ),
    ] {
        let why = KeyRing::parse(&text).unwrap_err();
        assert_eq!(why, expected, "{text}");
        assert!(!why.to_string().contains(&good));
    }
}

#[test]
fn debug_shows_ids_and_no_keys() {
    let entry = new_master_key("k1").unwrap();
    assert_eq!(
        format!("{:?}", KeyRing::parse(&entry).unwrap()),
        r#"["k1"]"#
    );
}

#[test]
fn a_secret_file_is_made_once_and_for_us_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/keyring");
    let first = KeyRing::load_or_create(&path).unwrap();
    let (_, wrapped) = first.new_data_key("acme").unwrap();
    let second = KeyRing::load_or_create(&path).unwrap();
    assert!(second.unwrap("acme", &wrapped).is_ok());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn fingerprints_are_equal_for_equal_bytes_under_one_key_alone() {
    let (one, other) = (data_key("acme"), data_key("acme"));
    assert_eq!(one.fingerprint(b"body"), one.fingerprint(b"body"));
    assert_ne!(one.fingerprint(b"body"), one.fingerprint(b"bodies"));
    assert_ne!(one.fingerprint(b"body"), other.fingerprint(b"body"));
}

#[test]
fn a_ring_goes_through_the_stages_of_a_rotation() {
    let ids = |ring: &KeyRing| ring.key_ids().map(str::to_owned).collect::<Vec<_>>();
    let first = ring(&["k1"]);
    let (key, wrapped) = first.new_data_key("acme").unwrap();
    let sealed = key.seal(b"s3cret", "row", Purpose::Credential).unwrap();

    let added = first.with_new_key("k2").unwrap();
    assert_eq!(
        (ids(&added), added.active()),
        (vec!["k1".to_owned(), "k2".to_owned()], "k1")
    );
    assert!(added.with_new_key("k2").is_err() && added.with_new_key("k 3").is_err());
    let active = added.with_active("k2").unwrap();
    assert_eq!(ids(&active), ["k2", "k1"]);
    assert!(active.with_active("k3").is_none());

    let rewrapped = active
        .wrap(&active.unwrap("acme", &wrapped).unwrap())
        .unwrap();
    let last = active.without_unneeded(std::slice::from_ref(&rewrapped.key_id));
    assert_eq!(ids(&last), ["k2"]);
    let key = last.unwrap("acme", &rewrapped).unwrap();
    let opened = key.open(&sealed, "row", Purpose::Credential).unwrap();
    assert_eq!(opened.as_slice(), b"s3cret");
    let again = KeyRing::parse(&active.to_text(",")).unwrap();
    assert!(again.unwrap("acme", &wrapped).is_ok() && again.unwrap("acme", &rewrapped).is_ok());
}

#[test]
fn a_signature_is_its_rings_and_its_messages_alone() {
    let (ring, other) = (ring(&["k1"]), ring(&["k1"]));
    let purpose = SignedPurpose::StatusToken;
    let signature = ring.sign(purpose, b"message").unwrap();
    assert!(ring.verify("k1", purpose, b"message", &signature).is_ok());
    for (by, key_id, message, signature) in [
        (&other, "k1", &b"message"[..], &signature[..]),
        (&ring, "k2", b"message", &signature),
        (&ring, "k1", b"massage", &signature),
        (&ring, "k1", b"message", &signature[..31]),
        (&ring, "k1", b"message", b""),
    ] {
        assert!(by.verify(key_id, purpose, message, signature).is_err());
    }
    // A ring in rotation knows what it signed before.
    let rotated = ring.with_new_key("k2").unwrap().with_active("k2").unwrap();
    assert!(
        rotated
            .verify("k1", purpose, b"message", &signature)
            .is_ok()
    );
    assert_ne!(rotated.sign(purpose, b"message").unwrap(), signature);
}
