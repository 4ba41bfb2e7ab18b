//! Telling public keys apart: by type and base64 only.
//!
//! GitHub strips the comment, Bitbucket moves it into a field, GitLab cuts it; titles are for people.

/// Whether two OpenSSH lines hold the same key.
pub fn same_key(one: &str, other: &str) -> bool {
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// Type and base64 alone, as people paste it: Azure takes a blank or line break at the end for a part of the key.
pub fn bare(public_key: &str) -> String {
    let words: Vec<_> = public_key.split_ascii_whitespace().take(2).collect();
    words.join(" ")
}

fn identity(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_ascii_whitespace();
    Some((words.next()?, words.next()?.trim_end_matches('=')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_blanks_and_padding_do_not_matter() {
        let key = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7== Netlify deploy key";
        for (other, same) in [
            ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7==", true),
            ("  ssh-rsa\tAAAAB3NzaC1yc2EAAAADAQABAAABAQC7==\n", true),
            (
                "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 other comment",
                true,
            ),
            ("ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQABAAABAQC7==", false),
            ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC8==", false),
            ("ssh-rsa", false),
            ("", false),
        ] {
            assert_eq!(same_key(key, other), same, "{other:?}");
        }
        assert!(!same_key("", ""));
    }
}
