//! Closed lists of words: enums with one text form for rows, JSON and people.

macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[doc = $doc:literal])* $variant:ident $text:tt,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[derive(::serde::Serialize, ::serde::Deserialize, ::utoipa::ToSchema)]
        pub enum $name { $($(#[doc = $doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every value, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// The text form used in rows and JSON.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $text,)* } }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::link::words::UnknownWord;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text)
                    .ok_or_else(|| $crate::link::words::UnknownWord(text.to_owned()))
            }
        }
    };
}
pub(crate) use text_enum;

/// A word that is not one of the closed list it should be from.
#[derive(Debug, thiserror::Error)]
#[error("unknown word `{0}`")]
pub struct UnknownWord(pub String);
