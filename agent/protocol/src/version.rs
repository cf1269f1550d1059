//! The protocol's version. Agents do not upgrade themselves, so a collector meets older ones.

/// The version that this program speaks.
pub const PROTOCOL: u32 = 1;
/// The oldest version of agents that a collector of this version serves.
pub const PROTOCOL_MIN: u32 = 1;

/// The version of a request with this path; `None` if the path is not the protocol's.
#[must_use]
pub fn of_path(path: &str) -> Option<u32> {
    let rest = path.strip_prefix("/agents/v")?;
    rest.split('/').next()?.parse().ok()
}

/// Why a collector of this version serves no agent of version `agent`, and what to do about it;
/// `None` if it does.
#[must_use]
pub fn refusal(agent: u32) -> Option<String> {
    if agent < PROTOCOL_MIN {
        return Some(format!(
            "the agent speaks protocol {agent}, and its collector {PROTOCOL_MIN} or later: \
             install a newer exhibit-agent on the host"
        ));
    }
    (agent > PROTOCOL).then(|| {
        format!(
            "the agent speaks protocol {agent}, and its collector {PROTOCOL} at most: \
             upgrade the collector, or install an older exhibit-agent on the host"
        )
    })
}

/// What agents speak that do not report it: the first version.
pub(crate) fn unreported() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path;

    #[test]
    fn own_version_is_served_and_those_around_it_are_told_what_to_upgrade() {
        assert_eq!(of_path(path::POLL), Some(PROTOCOL));
        assert_eq!(refusal(PROTOCOL), None);
        let too_old = refusal(PROTOCOL_MIN - 1).expect("it is too old");
        assert!(too_old.contains("newer exhibit-agent"), "{too_old}");
        let too_new = refusal(PROTOCOL + 1).expect("it is too new");
        assert!(too_new.contains("upgrade the collector"), "{too_new}");
        assert_eq!(of_path("/agents/v99/anything"), Some(99));
        for foreign in ["/agents", "/agents/v/poll", "/v1/agents", "/agents/vx/poll"] {
            assert_eq!(of_path(foreign), None, "{foreign}");
        }
    }
}
