//! How Netlify signs what it tells: a JWS over the hash of the body, without an expiry and without an id.

use aws_lc_rs::{constant_time, digest, hmac};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The one algorithm that counts: with `none`, or with a public key's, anybody could sign.
const ALGORITHM: &str = "HS256";
const ISSUER: &str = "netlify";

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sha256: String,
}

/// Whether Netlify has signed this very body with this secret. Compares in constant time.
pub fn is_valid(secret: &[u8], signature: &str, body: &[u8]) -> bool {
    let Some((signed, mac)) = signature.rsplit_once('.') else {
        return false;
    };
    let Some((header, claims)) = signed.split_once('.') else {
        return false;
    };
    let (Some(header), Ok(mac)) = (part::<Header>(header), BASE64_URL_SAFE_NO_PAD.decode(mac))
    else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    if header.alg != ALGORITHM || hmac::verify(&key, signed.as_bytes(), &mac).is_err() {
        return false;
    }
    part::<Claims>(claims)
        .is_some_and(|claims| claims.iss == ISSUER && hashes(&claims.sha256, body))
}

fn part<T: DeserializeOwned>(text: &str) -> Option<T> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&json).ok()
}

fn hashes(claimed: &str, body: &[u8]) -> bool {
    let hash = digest::digest(&digest::SHA256, body);
    let hex: String = hash
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let claimed = claimed.to_ascii_lowercase();
    constant_time::verify_slices_are_equal(hex.as_bytes(), claimed.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const SECRET: &[u8] = b"a secret of one link";
    const BODY: &[u8] = br#"{"id":"d1"}"#;
    /// Of [`BODY`], computed with another program.
    const HASH: &str = "798466cf63ce231618f5d2c830cc51d6af3c4fb33a6151838e9f7a2dee50fa14";

    fn signed(header: &Value, claims: &Value, secret: &[u8]) -> String {
        let encode = |json: &Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let mac = hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac))
    }

    #[test]
    fn only_netlifys_own_signature_of_this_body_counts() {
        let header = json!({"typ": "JWT", "alg": "HS256"});
        let claims = json!({"iss": "netlify", "sha256": HASH});
        let good = signed(&header, &claims, SECRET);
        assert!(is_valid(SECRET, &good, BODY));
        assert!(!is_valid(b"another secret", &good, BODY));
        assert!(!is_valid(SECRET, &good, br#"{"id":"d2"}"#));
        for (header, claims) in [
            (json!({"alg": "none"}), claims.clone()),
            (json!({"alg": "RS256"}), claims.clone()),
            (json!({"alg": "hs256"}), claims.clone()),
            (json!({}), claims.clone()),
            (header.clone(), json!({"iss": "somebody", "sha256": HASH})),
            (header.clone(), json!({"sha256": HASH})),
            (header.clone(), json!({"iss": "netlify"})),
            (header.clone(), json!({"iss": "netlify", "sha256": ""})),
            (
                header.clone(),
                json!({"iss": "netlify", "sha256": &HASH[1..]}),
            ),
        ] {
            assert!(
                !is_valid(SECRET, &signed(&header, &claims, SECRET), BODY),
                "{header} {claims}"
            );
        }
        for malformed in [
            "",
            ".",
            "..",
            "a.b",
            "a.b.c",
            &good[1..],
            &good[..good.len() - 1],
        ] {
            assert!(!is_valid(SECRET, malformed, BODY), "{malformed}");
        }
    }
}
