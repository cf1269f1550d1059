//! Classes of OCSF 1.5 (<https://schema.ocsf.io/1.5.0>) that derivers use, and activities that
//! several classes share.

pub const BASE_EVENT: u16 = 0;
pub const SCHEDULED_JOB_ACTIVITY: u16 = 1006;
/// 1 launch, 2 terminate, 5 set user id.
pub const PROCESS_ACTIVITY: u16 = 1007;
pub const DETECTION_FINDING: u16 = 2004;
/// 1 create, 2 enable, 3 password change, 4 password reset, 5 disable, 6 delete, 7 attach policy, 8
/// detach policy, 9 lock, 10 MFA factor enable, 11 MFA factor disable, 12 unlock.
pub const ACCOUNT_CHANGE: u16 = 3001;
/// 1 logon, 2 logoff.
pub const AUTHENTICATION: u16 = 3002;
/// 1 assign privileges, 2 assign groups.
pub const AUTHORIZE_SESSION: u16 = 3003;
/// 1 create, 2 read, 3 update, 4 delete, 8 enable, 9 disable, 10 activate, 11 deactivate, 12
/// suspend, 13 resume.
pub const ENTITY_MANAGEMENT: u16 = 3004;
/// 1 assign privileges, 2 revoke privileges.
pub const USER_ACCESS_MANAGEMENT: u16 = 3005;
/// 1 assign privileges, 2 revoke privileges, 3 add user, 4 remove user, 5 delete, 6 create.
pub const GROUP_MANAGEMENT: u16 = 3006;
/// 1 install, 2 remove, 3 start, 4 stop, 5 restart, 6 enable, 7 disable, 8 update.
pub const APPLICATION_LIFECYCLE: u16 = 6002;
/// 1 create, 2 read, 3 update, 4 delete.
pub const API_ACTIVITY: u16 = 6003;

pub const CREATE: u8 = 1;
pub const READ: u8 = 2;
pub const UPDATE: u8 = 3;
pub const DELETE: u8 = 4;
pub const OTHER: u8 = 99;
