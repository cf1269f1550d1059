//! Lines of syslog: sshd, sudo, su, login, cron, and the programs that change accounts.

use super::clock::syslog_time;
use super::{COMMAND_CHARS_MAX, HostRecord, lines, user};
use crate::text::shortened;
use crate::{
    ActivityCategory, ActivityEvent, ActivityOutcome, Derivation, EntityKind, EntityRef, ocsf,
};

const LOGON: u8 = 1;
const LOGOFF: u8 = 2;

pub(super) fn lines_of(file: &HostRecord<'_>, visit: &mut dyn FnMut(Derivation)) {
    for line in lines(file.record) {
        let Some((time, rest)) = syslog_time(line, file.record.captured_at) else {
            continue;
        };
        // `host program[123]: message`
        let Some((tag, message)) = rest
            .split_once(' ')
            .and_then(|(_, rest)| rest.split_once(": "))
        else {
            continue;
        };
        let program = tag.split(['[', '(']).next().unwrap_or(tag).trim();
        if let Some(mut event) = line_event(file, program, message.trim_start()) {
            time.set(&mut event);
            visit(Derivation::Event(Box::new(event)));
        }
    }
}

fn line_event(file: &HostRecord<'_>, program: &str, message: &str) -> Option<ActivityEvent> {
    match program.rsplit('/').next().unwrap_or(program) {
        "sshd" | "sshd-session" => sshd(file, message),
        "sudo" => sudo(file, message),
        "su" => su(file, message),
        "CRON" | "cron" | "crond" | "CROND" => cron(file, message),
        "login" | "systemd-logind" => login(file, message),
        "useradd" | "userdel" | "usermod" | "groupadd" | "groupdel" | "groupmod" | "passwd"
        | "chpasswd" | "chage" | "gpasswd" | "chsh" | "chfn" => account(file, program, message),
        _ => None,
    }
}

/// `Accepted publickey for root from 203.0.113.7 port 4711 ssh2: RSA SHA256:…`
fn sshd(file: &HostRecord<'_>, message: &str) -> Option<ActivityEvent> {
    let (outcome, rest) = if let Some(rest) = message.strip_prefix("Accepted ") {
        (ActivityOutcome::Success, rest)
    } else if let Some(rest) = message.strip_prefix("Failed ") {
        (ActivityOutcome::Failure, rest)
    } else if let Some(rest) = message.strip_prefix("Invalid user ") {
        let (name, from) = rest.rsplit_once(" from ")?;
        let mut event = authentication(file, "ssh/login", ActivityOutcome::Failure, name);
        event.address = first_word(from);
        event.reason = Some("invalid user".to_owned());
        let address = event.address.as_deref().unwrap_or_default();
        event.summary = format!("SSH login as unknown user {} from {address}", short(name));
        return Some(event);
    } else if let Some(rest) = message.strip_prefix("Disconnected from user ") {
        let (name, from) = rest.split_once(' ')?;
        let mut event = authentication(file, "ssh/logout", ActivityOutcome::Success, name);
        event.activity = LOGOFF;
        event.address = first_word(from);
        let address = event.address.as_deref().unwrap_or_default();
        event.summary = format!("SSH logout of {} from {address}", short(name));
        return Some(event);
    } else {
        return None;
    };
    let (method, rest) = rest.split_once(" for ")?;
    // The user's name comes from the client and may hold blanks, even ` from `: the last one counts.
    let (name, from) = rest.rsplit_once(" from ")?;
    let (name, is_unknown) = match name.strip_prefix("invalid user ") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let mut event = authentication(file, "ssh/login", outcome, name);
    event.address = first_word(from);
    event.reason = is_unknown.then(|| "invalid user".to_owned());
    // Older versions show the key's MD5.
    let key = from
        .split(' ')
        .find(|word| word.starts_with("SHA256:") || word.split(':').count() == 16);
    event.credential = key.map(|key| EntityRef::new(EntityKind::Credential, key));
    let verb = if outcome == ActivityOutcome::Success {
        "SSH login"
    } else {
        "failed SSH login"
    };
    let address = event.address.as_deref().unwrap_or_default();
    let key = key.map_or(String::new(), |key| format!(" ({key})"));
    event.summary = format!("{verb} as {} by {method}{key} from {address}", short(name));
    Some(event)
}

/// `alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/usr/bin/id`
fn sudo(file: &HostRecord<'_>, message: &str) -> Option<ActivityEvent> {
    let (who, rest) = message.split_once(" : ")?;
    let (rest, command) = rest.split_once("COMMAND=")?;
    let field = |name: &str| {
        rest.split(" ; ")
            .find_map(|part| part.trim().strip_prefix(name))
    };
    let target = field("USER=").unwrap_or("root").trim_end_matches(" ;");
    // What comes before the first field is why it was refused.
    let refused = rest.split(" ; ").next().filter(|part| !part.contains('='));
    let mut event = ActivityEvent::new(file.record, ActivityCategory::Execution, "sudo");
    (event.class, event.activity) = (ocsf::PROCESS_ACTIVITY, 1);
    event.outcome = match refused {
        Some(_) => ActivityOutcome::Failure,
        None => ActivityOutcome::Success,
    };
    event.reason = refused.map(str::to_owned);
    event.actor = Some(user(who.trim()));
    event.targets = vec![user(target), EntityRef::new(EntityKind::Process, command)];
    let reason = refused.map_or(String::new(), |reason| format!(": {reason}"));
    event.summary = format!(
        "sudo by {} as {target}: {}{reason}",
        who.trim(),
        short(command)
    );
    Some(event)
}

/// `(to root) alice on pts/1`, `FAILED SU (to root) alice on pts/1`
fn su(file: &HostRecord<'_>, message: &str) -> Option<ActivityEvent> {
    let (outcome, rest) = match message.strip_prefix("FAILED SU ") {
        Some(rest) => (ActivityOutcome::Failure, rest),
        None => (ActivityOutcome::Success, message),
    };
    let (target, rest) = rest.strip_prefix("(to ")?.split_once(") ")?;
    let (who, _) = rest.split_once(" on ")?;
    let mut event = authentication(file, "su", outcome, who);
    event.targets = vec![user(target)];
    let failed = if outcome == ActivityOutcome::Failure {
        "failed "
    } else {
        ""
    };
    event.summary = format!("{failed}su to {} by {}", short(target), short(who));
    Some(event)
}

/// `(root) CMD (/usr/local/bin/backup)`
fn cron(file: &HostRecord<'_>, message: &str) -> Option<ActivityEvent> {
    let (who, command) = message.strip_prefix('(')?.split_once(") CMD (")?;
    let command = command.strip_suffix(')').unwrap_or(command).trim();
    let mut event = ActivityEvent::new(file.record, ActivityCategory::Execution, "cron");
    (event.class, event.activity) = (ocsf::SCHEDULED_JOB_ACTIVITY, ocsf::OTHER);
    event.outcome = ActivityOutcome::Success;
    event.actor = Some(user(who));
    event.targets = vec![EntityRef::new(EntityKind::Process, command)];
    event.summary = format!("cron ran {} as {}", short(command), short(who));
    Some(event)
}

/// `FAILED LOGIN (1) on '/dev/tty1' FOR 'root', Authentication failure`, `New session 3 of user
/// alice.`
fn login(file: &HostRecord<'_>, message: &str) -> Option<ActivityEvent> {
    if let Some(rest) = message.strip_prefix("FAILED LOGIN ") {
        let (_, rest) = rest.split_once(" FOR '")?;
        let (name, _) = rest.split_once('\'')?;
        let mut event = authentication(file, "login", ActivityOutcome::Failure, name);
        event.summary = format!("failed login of {}", short(name));
        return Some(event);
    }
    let (session, name) = message
        .strip_prefix("New session ")?
        .split_once(" of user ")?;
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut event = authentication(file, "session-opened", ActivityOutcome::Success, name);
    event.targets = vec![EntityRef::new(EntityKind::Session, session)];
    event.summary = format!("session {} of {} opened", short(session), short(name));
    Some(event)
}

/// `new user: name=x, UID=1001, …`, `add 'x' to group 'sudo'`, `password changed for x`.
fn account(file: &HostRecord<'_>, program: &str, message: &str) -> Option<ActivityEvent> {
    // PAM's own lines say the same in other words.
    if message.starts_with("pam_") && !message.contains("password changed") {
        return None;
    }
    let mut event = ActivityEvent::new(file.record, ActivityCategory::Access, program);
    event.class = ocsf::ACCOUNT_CHANGE;
    event.activity = match program {
        "useradd" => 1,
        "userdel" => 6,
        "passwd" | "chpasswd" => 3,
        _ => ocsf::OTHER,
    };
    event.outcome = if message.starts_with("failed") {
        ActivityOutcome::Failure
    } else {
        ActivityOutcome::Success
    };
    event.targets = account_targets(message);
    event.summary = format!("{program}: {}", short(message));
    Some(event)
}

fn account_targets(message: &str) -> Vec<EntityRef> {
    let mut targets = Vec::new();
    let group_is_meant = message.contains("new group: ");
    if let Some((_, rest)) = message.split_once("name=") {
        let name = rest.split(',').next().unwrap_or(rest);
        let kind = if group_is_meant {
            EntityKind::Group
        } else {
            EntityKind::User
        };
        targets.push(EntityRef::new(kind, name));
    } else if let Some((_, name)) = message.split_once("password changed for ") {
        targets.push(user(name));
    }
    let mut quoted = message.split('\'').skip(1).step_by(2);
    targets.extend(quoted.next().map(user));
    targets.extend(
        quoted
            .next()
            .map(|name| EntityRef::new(EntityKind::Group, name)),
    );
    targets
}

fn authentication(
    file: &HostRecord<'_>,
    action: &str,
    outcome: ActivityOutcome,
    name: &str,
) -> ActivityEvent {
    let mut event = ActivityEvent::new(file.record, ActivityCategory::Authentication, action);
    (event.class, event.activity) = (ocsf::AUTHENTICATION, LOGON);
    event.outcome = outcome;
    event.actor = Some(user(name));
    event
}

fn first_word(text: &str) -> Option<String> {
    text.split(' ').next().map(str::to_owned)
}

fn short(text: &str) -> String {
    shortened(text, COMMAND_CHARS_MAX)
}
