//! Completion of values: what a shell offers after an option, and the ids of a store or server.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use evidence_format::id::IncidentId;

use super::choose_incident::incident_or_only_open;
use super::{GlobalOptions, print};
use domain::incident::{ClosureItem, IncidentRole, Plays, ReviewPrompt, Severity, StepState};
use domain::token::TokenRole;

/// Subcommands whose first argument is an incident.
const WITH_INCIDENT: [&str; 19] = [
    "status",
    "change",
    "checklist",
    "note",
    "attach",
    "brief",
    "timeline",
    "record",
    "changes",
    "identities",
    "trusts",
    "exposure",
    "persistence",
    "coverage",
    "watch",
    "stop",
    "bundles",
    "export",
    "close",
];

/// Prints ids for the completion of a shell, one a line
#[derive(Args)]
pub(super) struct CompleteArgs {
    what: CompletedIds,
    incident: Option<IncidentId>,
}

#[derive(Clone, Copy, ValueEnum)]
enum CompletedIds {
    Incidents,
    Bundles,
    Steps,
}

/// Errors are no completions: then there are none.
pub(super) async fn run(global: &GlobalOptions, arguments: &CompleteArgs) -> Result<()> {
    // Whoever presses a key of the shell does not ask for a store, which gets a key when it is made.
    let has_store = global.store_folder().is_ok_and(|folder| folder.exists());
    if !has_store && !matches!(global.remote(), Ok(Some(_))) {
        return Ok(());
    }
    let Ok(backend) = global.backend().await else {
        return Ok(());
    };
    let ids: Vec<String> = match arguments.what {
        CompletedIds::Incidents => {
            let incidents = backend.incidents().await.unwrap_or_default();
            incidents.iter().map(|one| one.id.to_string()).collect()
        }
        CompletedIds::Bundles => {
            let mut ids = Vec::new();
            for incident in backend.incidents().await.unwrap_or_default() {
                let bundles = backend.bundles(&incident.id).await.unwrap_or_default();
                ids.extend(bundles.iter().map(|bundle| bundle.id.hex()));
            }
            ids
        }
        CompletedIds::Steps => {
            let incident = incident_or_only_open(&*backend, arguments.incident.as_ref()).await;
            let Ok(incident) = incident else {
                return Ok(());
            };
            let Ok(details) = backend.incident(&incident).await else {
                return Ok(());
            };
            let steps = details.view.checklists.iter().flat_map(|list| &list.steps);
            steps.map(|step| step.step.id.to_string()).collect()
        }
    };
    print(&ids.iter().map(|id| id.clone() + "\n").collect::<String>())
}

/// The command line with the values that its options take: clap knows only their types. Plays of the
/// configuration have other names, so this is for completion only.
pub(super) fn with_values(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let is_token = name == "create";
    // Leaked, since clap takes only texts that live as long as the program, which ends after this.
    let plays: Vec<&'static str> = Plays::built_in()
        .iter()
        .map(|play| &*play.name.to_string().leak())
        .collect();
    let command = command.mut_args(|argument| {
        let values: Vec<&'static str> = match argument.get_id().as_str() {
            "play" => plays.clone(),
            "sev" => Severity::ALL.map(Severity::as_str).to_vec(),
            "status" => vec!["investigating", "contained", "recovering"],
            "role" if is_token => TokenRole::ALL.map(TokenRole::as_str).to_vec(),
            "role" => IncidentRole::ALL
                .map(|role| &*format!("{}=", role.as_str()).leak())
                .to_vec(),
            "state" => StepState::ALL.map(StepState::as_str).to_vec(),
            "give" | "waive" | "withdraw" => ClosureItem::ALL.map(ClosureItem::as_str).to_vec(),
            "review" => ReviewPrompt::ALL.map(ReviewPrompt::as_str).to_vec(),
            "customer_data" | "availability" | "privileged_access" => vec!["yes", "no", "unknown"],
            "source" => ::sources::ALL.iter().map(|source| source.name()).collect(),
            _ => return argument,
        };
        argument.value_parser(PossibleValuesParser::new(values))
    });
    command.mut_subcommands(with_values)
}

/// What a shell runs in addition to the generated script: it asks for ids.
pub(super) fn ids_script(shell: Shell) -> String {
    let commands = WITH_INCIDENT.join(if shell == Shell::Fish { " " } else { "|" });
    match shell {
        Shell::Bash => format!(
            "
_exhibit_with_ids() {{
    _exhibit \"$@\"
    local current=\"${{COMP_WORDS[COMP_CWORD]}}\" ids=
    [[ $current == -* || ${{COMP_WORDS[COMP_CWORD-1]}} == -* ]] && return
    case \"${{COMP_WORDS[1]}}\" in
        {commands}) ids=$(\"${{COMP_WORDS[0]}}\" complete incidents 2>/dev/null) ;;
        fetch) ids=$(\"${{COMP_WORDS[0]}}\" complete bundles 2>/dev/null) ;;
    esac
    if [[ ${{COMP_WORDS[1]}} == checklist && $COMP_CWORD -eq 3 ]]; then
        ids=$(\"${{COMP_WORDS[0]}}\" complete steps \"${{COMP_WORDS[2]}}\" 2>/dev/null)
    fi
    COMPREPLY+=( $(compgen -W \"$ids\" -- \"$current\") )
}}
complete -F _exhibit_with_ids -o nosort -o bashdefault -o default exhibit
"
        ),
        Shell::Fish => format!(
            "
complete -c exhibit -n '__fish_seen_subcommand_from {commands}' -f -a '(exhibit complete incidents 2>/dev/null)'
complete -c exhibit -n '__fish_seen_subcommand_from fetch' -f -a '(exhibit complete bundles 2>/dev/null)'
complete -c exhibit -n '__fish_seen_subcommand_from checklist' -f -a '(exhibit complete steps 2>/dev/null)'
"
        ),
        _ => String::new(),
    }
}
