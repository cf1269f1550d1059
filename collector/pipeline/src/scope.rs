//! Resolves the names in a capture request before anything is declared: a misspelled source would
//! capture nothing, and a misspelled region everything.

use std::collections::BTreeSet;

use evidence_format::id::IncidentId;
use futures::future::join_all;

use super::Pipeline;
use super::declare::DeclareError;
use domain::incident::{CaptureRequest, CommandError, Play, PlayName};
use domain::plan::{CaptureTarget, Readiness};
use domain::spelling::nearest;

impl Pipeline {
    /// Checks that every source, account and region of `request` exists. Accounts and regions are
    /// compared with what the sources can reach now, so this asks the sources if the request names
    /// any. `incident` may be one that is not declared yet.
    ///
    /// # Errors
    /// [`DeclareError::Refused`] with the name that was probably meant.
    pub async fn check_scope(
        &self,
        incident: Option<&IncidentId>,
        play: &PlayName,
        request: &CaptureRequest,
    ) -> Result<(), DeclareError> {
        let play = self.plays.get(play).map_err(CommandError::from)?;
        self.check_source_names(request)?;
        if request.accounts.is_empty() && request.regions.is_empty() {
            return Ok(());
        }
        let readiness = self.readiness_in_scope(incident, play, request).await;
        check_targets("account", &request.accounts, &readiness, |target| {
            target.account.as_deref()
        })?;
        check_targets("region", &request.regions, &readiness, |target| {
            target.region.as_deref()
        })
    }

    fn check_source_names(&self, request: &CaptureRequest) -> Result<(), DeclareError> {
        // A play may name a source that this version lacks: the capture then says that it is
        // missing.
        let in_plays = self.plays.iter().flat_map(|play| &play.sources);
        let known: BTreeSet<&str> = in_plays
            .map(|source| source.as_str())
            .chain(self.sources.iter().map(|source| source.name()))
            .collect();
        check_names(
            "source",
            request.sources.iter().map(|source| source.as_str()),
            &known,
            &[],
        )
    }

    async fn readiness_in_scope(
        &self,
        incident: Option<&IncidentId>,
        play: &Play,
        request: &CaptureRequest,
    ) -> Vec<Readiness> {
        let names = request.sources_of(play).iter();
        let sources = names.filter_map(|name| self.find_source(name.as_str()));
        let checks = sources.map(|source| self.check_readiness(source, incident.cloned(), None));
        join_all(checks).await
    }
}

/// Checks that a target of some source has each of the values in `wanted`.
fn check_targets(
    what: &'static str,
    wanted: &[String],
    readiness: &[Readiness],
    value: impl Fn(&CaptureTarget) -> Option<&str>,
) -> Result<(), DeclareError> {
    let targets = readiness.iter().flat_map(Readiness::targets);
    let known: BTreeSet<&str> = targets.filter_map(value).collect();
    // Without any target, the reason is more use than an empty list.
    let problems: Vec<String> = readiness
        .iter()
        .filter(|readiness| readiness.offers.is_empty())
        .flat_map(|readiness| {
            let source = &readiness.source;
            let problems = readiness.problems.iter();
            problems.map(move |problem| format!("{source}: {problem}"))
        })
        .collect();
    check_names(what, wanted.iter().map(String::as_str), &known, &problems)
}

fn check_names<'n>(
    what: &'static str,
    mut wanted: impl Iterator<Item = &'n str>,
    known: &BTreeSet<&str>,
    problems: &[String],
) -> Result<(), DeclareError> {
    let Some(unknown) = wanted.find(|name| !known.contains(name)) else {
        return Ok(());
    };
    let error = CommandError::UnknownName {
        what,
        name: unknown.to_owned(),
        nearest: nearest(unknown, known.iter().copied()).map(str::to_owned),
        known: known.iter().map(ToString::to_string).collect(),
        problems: problems.into(),
    };
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::plan::{OfferReadiness, ReadinessState};

    #[test]
    fn unknown_region_is_refused_with_the_nearest_one() {
        let host = sources::find("host").expect("a source");
        let ready = |region: &str| {
            let target = CaptureTarget {
                region: Some(region.to_owned()),
                ..CaptureTarget::default()
            };
            OfferReadiness::ready(&host.offers()[0], target)
        };
        let readiness = [Readiness::of_offers(
            "host".parse().expect("a source"),
            ReadinessState::Ready,
            vec![ready("eu-west-1"), ready("us-east-1")],
            Vec::new(),
        )];
        let check = |wanted: &str| {
            check_targets("region", &[wanted.to_owned()], &readiness, |target| {
                target.region.as_deref()
            })
        };
        assert!(check("us-east-1").is_ok());
        let error = check("eu-wst-1").expect_err("it is misspelled").to_string();
        assert_eq!(
            error,
            "no region is called eu-wst-1 (did you mean \"eu-west-1\"?); there are: eu-west-1, us-east-1"
        );
    }

    #[test]
    fn without_any_target_the_error_says_why() {
        let problem = "no credentials".to_owned();
        let readiness = [Readiness::of_source(
            "aws_cloudtrail".parse().expect("a source"),
            ReadinessState::NotConfigured,
            vec![problem],
        )];
        let wanted = ["999".to_owned()];
        let checked = check_targets("account", &wanted, &readiness, |target| {
            target.account.as_deref()
        });
        assert_eq!(
            checked.expect_err("there is none").to_string(),
            "no account is called 999; there is none to ask: aws_cloudtrail: no credentials"
        );
    }
}
