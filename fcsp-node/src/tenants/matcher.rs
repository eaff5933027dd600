//! The processes of a tenant: rules about the cgroup identity of a process.

use std::path::PathBuf;

use crate::identity::{CgroupIdentity, Kind};

/// The fewest digits of a container's identifier that stand for it, as Docker prints them.
pub const FEWEST_DIGITS: usize = 12;

/// Rules about an identity. All that are given must hold; without any, none does.
///
/// A container inside another one belongs to the outer one's tenant, since a container may make
/// cgroups with any name. A container of a user or of a unit belongs to them for the same reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matcher {
    /// The identifier of a container that root's runtime made, or its beginning.
    pub container: Option<String>,
    /// The UID of a Kubernetes pod.
    pub pod: Option<String>,
    /// A unit of the system's service manager.
    pub unit: Option<String>,
    /// A user.
    pub user: Option<u32>,
    /// A cgroup that the process is in or below.
    pub cgroup: Option<PathBuf>,
}

impl Matcher {
    /// Returns whether there is no rule.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether all rules hold for an identity.
    pub fn matches(&self, identity: &CgroupIdentity) -> bool {
        let outer = identity.outer();
        let holds = |rule: Option<bool>| rule.unwrap_or(true);
        !self.is_empty()
            && holds(self.container.as_ref().map(|id| is_container(&outer, id)))
            && holds(self.pod.as_ref().map(|uid| is_in_pod(&outer, uid)))
            && holds(self.unit.as_ref().map(|unit| is_of_unit(&outer, unit)))
            && holds(self.user.map(|uid| is_of_user(&outer, uid)))
            && holds(
                self.cgroup
                    .as_ref()
                    .map(|path| identity.path.starts_with(path)),
            )
    }

    /// Returns how narrow the rules are: a container before a pod, a unit, a user and a cgroup.
    pub fn precision(&self) -> u8 {
        let given = [
            self.cgroup.is_some(),
            self.user.is_some(),
            self.unit.is_some(),
            self.pod.is_some(),
            self.container.is_some(),
        ];
        (0..)
            .zip(given)
            .map(|(bit, is_given)| u8::from(is_given) << bit)
            .sum()
    }
}

/// Returns whether an identity is of this container. Rootless containers count by their user only.
fn is_container(outer: &CgroupIdentity, id: &str) -> bool {
    let is_it = |container: &crate::identity::Container| container.id.starts_with(id);
    outer.is_made_by_root() && outer.outermost().is_some_and(is_it)
}

fn is_in_pod(outer: &CgroupIdentity, uid: &str) -> bool {
    outer.is_made_by_root()
        && matches!(&outer.kind, Kind::Container { pod: Some(pod), .. } if pod == uid)
}

fn is_of_unit(outer: &CgroupIdentity, name: &str) -> bool {
    match &outer.kind {
        Kind::Unit(unit) => unit == name,
        Kind::Container {
            unit: Some(unit), ..
        } => unit == name,
        _ => false,
    }
}

fn is_of_user(outer: &CgroupIdentity, user: u32) -> bool {
    match outer.kind {
        Kind::User { uid, .. } => uid == user,
        Kind::Container {
            user: Some(uid), ..
        } => uid == user,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3f9d0c5b7a8e4d21b6c0a1f2e3d4c5b697887960514233241506f7e8d9cabb01";
    const B: &str = "b01dface5b7a8e4d21b6c0a1f2e3d4c5b697887960514233241506f7e8d9ca22";
    const POD: &str = "c7b3d9a0-52fe-4f9b-8d43-0e7c1b9fa812";

    fn of(path: &str) -> CgroupIdentity {
        let path = path
            .replace("{A}", A)
            .replace("{B}", B)
            .replace("{pod}", POD);
        CgroupIdentity::of_path(path.as_bytes())
    }

    #[test]
    fn a_container_is_known_by_the_beginning_of_its_identifier() {
        let rule = Matcher {
            container: Some(A[..12].into()),
            ..Matcher::default()
        };
        assert!(rule.matches(&of("/docker/{A}")));
        assert!(rule.matches(&of("/docker/{A}/docker/{B}")));
        // A container that calls a child like this one, and a user's container of this name.
        assert!(!rule.matches(&of("/docker/{B}/docker/{A}")));
        assert!(!rule.matches(&of(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope"
        )));
        assert!(!rule.matches(&of("/system.slice/ci.service/docker/{A}")));
    }

    #[test]
    fn a_nested_container_stays_in_its_pod() {
        let rule = Matcher {
            pod: Some(POD.into()),
            ..Matcher::default()
        };
        assert!(rule.matches(&of("/kubepods/pod{pod}/{A}")));
        assert!(rule.matches(&of("/kubepods/pod{pod}/{A}/docker/{B}")));
        let other = "11111111-2222-3333-4444-555555555555";
        let inside = format!("/kubepods/pod{{pod}}/{{A}}/kubepods/pod{other}/{{B}}");
        assert!(rule.matches(&of(&inside)));
        let theirs = Matcher {
            pod: Some(other.into()),
            ..Matcher::default()
        };
        assert!(!theirs.matches(&of(&inside)));
    }

    #[test]
    fn users_and_units_keep_their_containers() {
        let user = Matcher {
            user: Some(1000),
            ..Matcher::default()
        };
        let home = "/user.slice/user-1000.slice/user@1000.service";
        assert!(user.matches(&of("/user.slice/user-1000.slice/session-2.scope")));
        assert!(user.matches(&of(&format!(
            "{home}/user.slice/libpod-{{A}}.scope/container"
        ))));
        assert!(!user.matches(&of("/user.slice/user-1001.slice/session-2.scope")));
        assert!(!user.matches(&of(
            "/docker/{A}/user.slice/user-1000.slice/session-2.scope"
        )));
        let unit = Matcher {
            unit: Some("ci.service".into()),
            ..Matcher::default()
        };
        assert!(unit.matches(&of("/system.slice/ci.service/job1")));
        assert!(unit.matches(&of("/system.slice/ci.service/docker/{A}")));
        assert!(!unit.matches(&of(&format!("{home}/app.slice/ci.service"))));
    }

    #[test]
    fn a_cgroup_is_matched_by_whole_names() {
        let rule = Matcher {
            cgroup: Some("/lab/one".into()),
            ..Matcher::default()
        };
        assert!(rule.matches(&of("/lab/one")));
        assert!(rule.matches(&of("/lab/one/deeper")));
        assert!(!rule.matches(&of("/lab/one-more")));
        assert!(!rule.matches(&of("/lab")));
    }

    #[test]
    fn no_rule_matches_nothing_and_all_rules_must_hold() {
        assert!(!Matcher::default().matches(&of("/docker/{A}")));
        let both = Matcher {
            user: Some(1000),
            cgroup: Some("/user.slice/user-1000.slice/session-2.scope".into()),
            ..Matcher::default()
        };
        assert!(both.matches(&of("/user.slice/user-1000.slice/session-2.scope")));
        assert!(!both.matches(&of("/user.slice/user-1000.slice/session-3.scope")));
        let user = Matcher {
            user: Some(1000),
            ..Matcher::default()
        };
        assert!(both.precision() > user.precision());
    }
}
