//! `[sources.kubernetes]`.

use std::path::PathBuf;

use serde::Deserialize;

/// Which clusters are captured. Trusted: a kubeconfig may name a program that is run to get a
/// token.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct KubernetesConfig {
    pub enabled: bool,
    /// The kubeconfig. Without it, the file that `KUBECONFIG` names, `~/.kube/config`, or the
    /// service account of the pod that the collector runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Contexts of the kubeconfig, one for each cluster; its current context if absent.
    pub contexts: Option<Vec<String>>,
    /// Namespaces to capture, where the collector may not read the whole cluster. Nodes and other
    /// objects without a namespace are then left out, which the plan and the coverage state.
    pub namespaces: Option<Vec<String>>,
    /// Captures the Secrets in which Helm keeps its releases with their contents: templates and
    /// values, which often have passwords. Of all other Secrets only metadata is captured.
    pub helm_secrets: bool,
    /// Captures the values of environment variables that pods and their templates have in clear,
    /// which often are passwords. Without it, only their names are captured.
    pub environment_values: bool,
    /// Watches events and pods from the declaration until the incident is contained, in passes of
    /// their own that are sealed at each deadline.
    pub watch: bool,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            kubeconfig: None,
            contexts: None,
            namespaces: None,
            helm_secrets: false,
            environment_values: false,
            watch: false,
        }
    }
}
