//! The meaning of one cgroup path: a container, a unit, a user, or only a cgroup.
//!
//! Runtimes name a container's cgroup after it, each in a form of its own. A container that may
//! make cgroups can use those forms too, below its own cgroup. An identity is therefore the path
//! from the root to the container's cgroup, and never the identifier alone.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The program that made a container's cgroup, as far as the name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Runtime {
    /// containerd under Kubernetes (CRI).
    CriContainerd,
    /// CRI-O.
    CriO,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// containerd without Kubernetes: `ctr`, `nerdctl`.
    Containerd,
    /// LXC.
    Lxc,
    /// runc or crun by itself.
    Oci,
    /// A runtime that names only the identifier, such as the cgroupfs drivers under Kubernetes.
    Unknown,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CriContainerd => "containerd under Kubernetes",
            Self::CriO => "CRI-O",
            Self::Docker => "Docker",
            Self::Podman => "Podman",
            Self::Containerd => "containerd",
            Self::Lxc => "LXC",
            Self::Oci => "an OCI runtime",
            Self::Unknown => "an unknown runtime",
        })
    }
}

/// One container of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Container {
    /// The runtime that made it.
    pub runtime: Runtime,
    /// The identifier that the runtime gave it.
    pub id: String,
}

/// The thing that a cgroup belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A container.
    Container {
        /// The containers from the outermost to the innermost; never empty. The innermost is the
        /// tenant. All but the first lie below another container, which may have invented them.
        chain: Vec<Container>,
        /// The UID of the innermost Kubernetes pod, with dashes unless it is a static pod's.
        pod: Option<String>,
        /// The user whose service manager owns the cgroup, for rootless containers.
        user: Option<u32>,
        /// The system's unit above the outermost container, which may have made its cgroup.
        unit: Option<String>,
    },
    /// A service or scope of the system's service manager.
    Unit(String),
    /// A user's session or service.
    User {
        /// The user.
        uid: u32,
        /// The session, or the unit of the user's own service manager.
        unit: Option<String>,
    },
    /// A cgroup that no known program named, other than the root.
    Bare,
    /// The root cgroup.
    Root,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container {
                chain, pod, unit, ..
            } => {
                let (runtime, id) = chain.last().map_or((Runtime::Unknown, ""), |innermost| {
                    (innermost.runtime, innermost.id.as_str())
                });
                write!(f, "container {id} of {runtime}")?;
                if let Some(pod) = pod {
                    write!(f, ", pod {pod}")?;
                }
                if chain.len() > 1 {
                    write!(f, ", inside container {}", chain[0].id)?;
                }
                match unit {
                    Some(unit) => write!(f, ", unit {unit}"),
                    None => Ok(()),
                }
            }
            Self::Unit(unit) => write!(f, "unit {unit}"),
            Self::User { uid, unit } => match unit {
                Some(unit) => write!(f, "user {uid}, unit {unit}"),
                None => write!(f, "user {uid}"),
            },
            Self::Bare => f.write_str("no container, unit or user"),
            Self::Root => f.write_str("the root cgroup"),
        }
    }
}

/// The identity that a cgroup gives to its processes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CgroupIdentity {
    /// The cgroup of the container, unit or user, from the root of the hierarchy. Cgroups below it
    /// belong to it. Two identities are the same only if their paths are.
    pub path: PathBuf,
    /// The thing that the path belongs to.
    pub kind: Kind,
}

impl CgroupIdentity {
    /// Returns the identity for one absolute path.
    pub fn of_path(path: &[u8]) -> Self {
        Scan::of(path).finish(path)
    }

    /// Returns the outermost container, which no other container can have invented.
    pub fn outermost(&self) -> Option<&Container> {
        match &self.kind {
            Kind::Container { chain, .. } => chain.first(),
            _ => None,
        }
    }

    /// Returns the innermost container.
    pub fn container(&self) -> Option<&Container> {
        match &self.kind {
            Kind::Container { chain, .. } => chain.last(),
            _ => None,
        }
    }

    /// Returns the identity of the outermost container, which a container inside it shares. Any
    /// other identity is its own.
    pub fn outer(&self) -> Self {
        let path = self.path.as_os_str().as_bytes();
        (1..path.len())
            .filter(|&end| path[end] == b'/')
            .map(|end| Self::of_path(&path[..end]))
            .find(|identity| identity.outermost().is_some())
            .unwrap_or_else(|| self.clone())
    }

    /// Returns whether only root can have made the cgroup. No user's service manager, no unit and
    /// no other container then lies above it. An identifier counts as proof only then.
    pub fn is_made_by_root(&self) -> bool {
        match &self.kind {
            Kind::Container {
                chain, user, unit, ..
            } => chain.len() == 1 && user.is_none() && unit.is_none(),
            Kind::User { unit, .. } => unit.is_none(),
            Kind::Unit(_) | Kind::Root => true,
            Kind::Bare => false,
        }
    }
}

/// State of a walk along a path.
#[derive(Default)]
struct Scan {
    chain: Vec<Container>,
    /// The pod of a container that was found.
    pod: Option<String>,
    /// A pod whose container has not come yet. A container may name cgroups below it like pods, so
    /// a pod counts only with a container below it.
    pending_pod: Option<String>,
    user: Option<u32>,
    /// The first service or scope that is not a container's, before any container.
    unit: Option<String>,
    /// The unit of a user's service manager.
    user_unit: Option<String>,
    /// Bytes of the path up to the end of the deciding name.
    end: usize,
}

impl Scan {
    fn of(path: &[u8]) -> Self {
        let mut scan = Self::default();
        let mut names: Vec<&str> = Vec::new();
        let mut end = 0;
        for bytes in path.split(|&byte| byte == b'/') {
            end += bytes.len() + 1;
            if bytes.is_empty() {
                continue;
            }
            // No name of a runtime or of systemd is anything but ASCII.
            let name = std::str::from_utf8(bytes).unwrap_or("");
            if scan.take(&names, name) {
                scan.end = end - 1;
            }
            names.push(name);
        }
        scan
    }

    /// Takes one name, whose parents are `above`. Returns whether the identity ends here so far.
    fn take(&mut self, above: &[&str], name: &str) -> bool {
        if let Some(uid) = pod_uid(above, name) {
            self.pending_pod = Some(uid);
            return false;
        }
        if let Some((container, uid)) = container(above, name) {
            let pending = self.pending_pod.take();
            self.pod = uid.or(pending).or(self.pod.take());
            self.chain.push(container);
            return true;
        }
        // Units inside a container are the container's.
        if !self.chain.is_empty() {
            return false;
        }
        if let (["user.slice"], Some(uid)) = (above, user_slice(name)) {
            self.user = Some(uid);
            return true;
        }
        if !is_unit(name) {
            return false;
        }
        let name = name.strip_prefix('_').unwrap_or(name);
        match self.user {
            // The service manager of a user is no unit of the user's: its children are.
            Some(uid) if name == format!("user@{uid}.service") => false,
            Some(_) if self.user_unit.is_none() => {
                self.user_unit = Some(name.to_owned());
                true
            }
            None if self.unit.is_none() => {
                self.unit = Some(name.to_owned());
                true
            }
            _ => false,
        }
    }

    fn finish(self, path: &[u8]) -> CgroupIdentity {
        let is_root = path.iter().all(|&byte| byte == b'/');
        let (kind, end) = if !self.chain.is_empty() {
            let kind = Kind::Container {
                chain: self.chain,
                pod: self.pod,
                user: self.user,
                unit: self.unit,
            };
            (kind, self.end)
        } else if let Some(uid) = self.user {
            let unit = self.user_unit;
            (Kind::User { uid, unit }, self.end)
        } else if let Some(unit) = self.unit {
            (Kind::Unit(unit), self.end)
        } else if is_root {
            (Kind::Root, path.len())
        } else {
            (Kind::Bare, path.len())
        };
        CgroupIdentity {
            path: PathBuf::from(OsStr::from_bytes(&path[..end])),
            kind,
        }
    }
}

/// Returns whether a name is one of a service or a scope.
fn is_unit(name: &str) -> bool {
    let stem = name.strip_suffix(".service");
    stem.or_else(|| name.strip_suffix(".scope"))
        .is_some_and(|stem| !stem.is_empty())
}

/// Returns the user of `user-UID.slice`.
fn user_slice(name: &str) -> Option<u32> {
    let uid = name.strip_prefix("user-")?.strip_suffix(".slice")?;
    (uid.bytes().all(|byte| byte.is_ascii_digit())).then(|| uid.parse().ok())?
}

/// Returns whether a text is an identifier as Docker, containerd, CRI-O and Podman make them.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether a text is an identifier that a person may choose (OCI, `ctr`, LXC).
fn is_chosen(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte))
}

/// Returns the UID of a pod's name: a UUID, or 32 digits for a static pod.
fn uid(text: &str) -> Option<String> {
    let uid = text.replace('_', "-");
    let groups: Vec<usize> = uid.split('-').map(str::len).collect();
    let is_uid = groups == [32] || groups == [8, 4, 4, 4, 12];
    (is_uid && uid.split('-').all(is_hex)).then_some(uid)
}

/// Returns the pod of a slice without its suffix, `[PREFIX-]kubepods[-QOS]-podUID`. The text before
/// `-pod` must end in these words: `libpod-` and a unit named `x-pod...` are no pods.
fn pod_of_stem(stem: &str) -> Option<String> {
    let (before, text) = stem.rsplit_once("-pod")?;
    let root = ["-burstable", "-besteffort"]
        .iter()
        .find_map(|qos| before.strip_suffix(qos))
        .unwrap_or(before);
    (root == "kubepods" || root.ends_with("-kubepods")).then(|| uid(text))?
}

/// Returns the UID of a pod that a name stands for, under both cgroup drivers.
fn pod_uid(above: &[&str], name: &str) -> Option<String> {
    if let Some(stem) = name.strip_suffix(".slice") {
        return pod_of_stem(stem);
    }
    let is_below = matches!(
        above,
        [.., "kubepods", "burstable" | "besteffort"] | [.., "kubepods"]
    );
    is_below.then(|| uid(name.strip_prefix("pod")?))?
}

/// Returns the container that a name stands for, and the pod where the same name has it.
fn container(above: &[&str], name: &str) -> Option<(Container, Option<String>)> {
    let of = |runtime, id: &str| {
        let id = id.to_owned();
        Some((Container { runtime, id }, None))
    };
    // containerd with cgroupfs that was given a path of systemd's form: SLICE:cri-containerd:ID.
    let parts: Vec<&str> = name.split(':').collect();
    if let [slice, prefix, id] = parts[..] {
        let runtime = runtime_of(prefix)?;
        let pod = slice.strip_suffix(".slice").and_then(pod_of_stem);
        let id = id.to_owned();
        return is_hash(&id).then_some((Container { runtime, id }, pod));
    }
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    if let Some((prefix, id)) = stem.rsplit_once('-')
        && let Some(runtime) = runtime_of(prefix)
        && is_hash(id)
    {
        return of(runtime, id);
    }
    if name.ends_with(".scope")
        && let Some(id) = stem
            .strip_prefix("runc-")
            .or_else(|| stem.strip_prefix("crun-"))
        && is_chosen(id)
    {
        return of(Runtime::Oci, id);
    }
    if let Some(id) = name.strip_prefix("lxc.payload.")
        && is_chosen(id)
    {
        return of(Runtime::Lxc, id);
    }
    match above {
        [.., "docker"] if is_hash(name) => of(Runtime::Docker, name),
        ["default" | "k8s.io" | "moby"] if is_chosen(name) && !is_unit(name) => {
            of(Runtime::Containerd, name)
        }
        ["lxc"] if is_chosen(name) => of(Runtime::Lxc, name),
        _ if is_hash(name) => of(Runtime::Unknown, name),
        _ => None,
    }
}

/// Returns the runtime that puts this prefix before an identifier. The monitors `crio-conmon-` and
/// `libpod-conmon-` are outside their containers and have none.
fn runtime_of(prefix: &str) -> Option<Runtime> {
    match prefix {
        "cri-containerd" => Some(Runtime::CriContainerd),
        "crio" => Some(Runtime::CriO),
        "docker" => Some(Runtime::Docker),
        "libpod" => Some(Runtime::Podman),
        "containerd" | "nerdctl" => Some(Runtime::Containerd),
        _ => None,
    }
}
