//! What kind of change an event is: the runbook asks for deployments, infrastructure, access grants
//! and vendors.

use serde::{Deserialize, Serialize};

use crate::{ActivityCategory, ActivityEvent};

/// The kinds of changes that the runbook asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ChangeTopic {
    /// A version was brought into service.
    Deployment,
    Infrastructure,
    /// A right or a credential was given or taken.
    Access,
    /// An app or integration of somebody else.
    Vendor,
}

/// Changes that let another company's product in, or change what it may do: provider, and the
/// beginning of the action.
const VENDOR_ACTIONS: &[(&str, &str)] = &[
    ("github", "integration."),
    ("github", "integration_installation"),
    ("github", "marketplace_"),
    ("github", "oauth_application."),
    ("github", "oauth_authorization."),
    ("github", "org.oauth_app_access"),
    ("github", "org.integration_manager"),
    ("gitlab", "integration_"),
    ("gitlab", "oauth_application"),
    ("okta", "app.oauth2.client.lifecycle"),
    ("okta", "application.lifecycle"),
    ("okta", "application.integration"),
    ("okta", "integration.api_service"),
    ("aws", "aws-marketplace"),
    ("aws", "marketplace"),
    ("aws", "license-manager"),
];

impl ChangeTopic {
    pub const ALL: [Self; 4] = [
        Self::Deployment,
        Self::Infrastructure,
        Self::Access,
        Self::Vendor,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Infrastructure => "infrastructure",
            Self::Access => "access",
            Self::Vendor => "vendor",
        }
    }

    /// The categories of events that may be changes.
    pub const CATEGORIES: [ActivityCategory; 3] = [
        ActivityCategory::Change,
        ActivityCategory::Access,
        ActivityCategory::Deployment,
    ];

    /// The topic of an event of `provider`; `None` if it changes nothing.
    #[must_use]
    pub fn of(provider: &str, event: &ActivityEvent) -> Option<Self> {
        let topic = match event.category {
            ActivityCategory::Deployment => Self::Deployment,
            ActivityCategory::Access => Self::Access,
            ActivityCategory::Change => Self::Infrastructure,
            ActivityCategory::Authentication
            | ActivityCategory::Execution
            | ActivityCategory::Read
            | ActivityCategory::Finding
            | ActivityCategory::Other => return None,
        };
        let mut vendors = VENDOR_ACTIONS.iter();
        let is_vendor =
            vendors.any(|(of, action)| *of == provider && event.action.starts_with(action));
        Some(if is_vendor { Self::Vendor } else { topic })
    }
}
