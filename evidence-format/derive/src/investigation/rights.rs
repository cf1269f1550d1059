//! What a right allows, by the words that providers use for rights.

use serde::{Deserialize, Serialize};

/// What somebody with a right can do. All false: the record does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RightEffects {
    pub read: bool,
    pub modify: bool,
    pub delete: bool,
}

/// Words that allow everything, or rights that include giving oneself more: roles of GitHub and
/// GitLab, managed policies of AWS, admin roles of Okta, the built-in roles of Kubernetes.
const ALL_WORDS: &[&str] = &[
    "*",
    "admin",
    "administration",
    "administrator",
    "administratoraccess",
    "poweruseraccess",
    "cluster-admin",
    "owner",
    "maintain",
    "maintainer",
    "super_admin",
    "org_admin",
    "super",
];

/// Of these, all but to remove what holds the rest: a repository, a namespace.
const WRITE_WORDS: &[&str] = &[
    "write",
    "push",
    "pushes",
    "developer",
    "edit",
    "create",
    "update",
    "patch",
    "put",
    "modify",
    "deploy",
    "privileged",
    "writes",
];

const DELETE_WORDS: &[&str] = &["delete", "deletecollection", "destroy"];

const READ_WORDS: &[&str] = &[
    "read",
    "get",
    "list",
    "watch",
    "pull",
    "triage",
    "view",
    "viewer",
    "reporter",
    "guest",
    "readonlyaccess",
    "securityaudit",
    "viewonlyaccess",
    "read_only_admin",
    "write",
    "developer",
    "edit",
];

impl RightEffects {
    const ALL: Self = Self {
        read: true,
        modify: true,
        delete: true,
    };

    /// What the texts of a right, such as its condition and its policy's name, allow.
    #[must_use]
    pub fn of<'t>(texts: impl IntoIterator<Item = &'t str>) -> Self {
        let mut effects = Self::default();
        for text in texts {
            let text = text.to_lowercase();
            // Conditions end with the names of things, which are not rights: `get; only admin`.
            let rights = text.split(';').next().unwrap_or_default();
            for word in rights.split(|c: char| !(c.is_alphanumeric() || "*_-".contains(c))) {
                effects = effects.or(Self::of_word(word));
            }
        }
        effects
    }

    fn of_word(word: &str) -> Self {
        if ALL_WORDS.contains(&word) {
            return Self::ALL;
        }
        Self {
            read: READ_WORDS.contains(&word),
            modify: WRITE_WORDS.contains(&word),
            delete: DELETE_WORDS.contains(&word),
        }
    }

    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            modify: self.modify || other.modify,
            delete: self.delete || other.delete,
        }
    }

    /// True if the record does not say what the right allows.
    #[must_use]
    pub fn is_unknown(self) -> bool {
        self == Self::default()
    }
}
