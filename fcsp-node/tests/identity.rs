//! Paths that real runtimes make, and paths that a tenant may make to look like them.

use fcsp_node::identity::{CgroupError, CgroupIdentity, Kind, cgroup};
use proptest::prelude::*;

const A: &str = "3f9d0c5b7a8e4d21b6c0a1f2e3d4c5b697887960514233241506f7e8d9cabb01";
const B: &str = "b01dface5b7a8e4d21b6c0a1f2e3d4c5b697887960514233241506f7e8d9ca22";
const POD: &str = "c7b3d9a0-52fe-4f9b-8d43-0e7c1b9fa812";
const STATIC_POD: &str = "4d5f3c2b1a0987654321fedcba098765";

/// Fills in identifiers: `{A}`, `{B}`, `{pod}`, `{pod_}` (as systemd writes it), `{static}`.
fn fill(text: &str) -> String {
    text.replace("{A}", A)
        .replace("{B}", B)
        .replace("{pod}", POD)
        .replace("{pod_}", &POD.replace('-', "_"))
        .replace("{static}", STATIC_POD)
}

fn of(path: &str) -> CgroupIdentity {
    CgroupIdentity::of_path(fill(path).as_bytes())
}

/// Writes an identity as one line: kind, containers from the outermost, pod, user, unit.
fn line(identity: &CgroupIdentity) -> String {
    match &identity.kind {
        Kind::Container {
            chain,
            pod,
            user,
            unit,
        } => {
            let names: Vec<String> = chain
                .iter()
                .map(|container| format!("{:?} {}", container.runtime, container.id))
                .collect();
            let mut text = names.join(" > ");
            if let Some(pod) = pod {
                text += &format!(", pod {pod}");
            }
            if let Some(user) = user {
                text += &format!(", user {user}");
            }
            if let Some(unit) = unit {
                text += &format!(", unit {unit}");
            }
            text
        }
        Kind::Unit(name) => format!("unit {name}"),
        Kind::User {
            uid,
            unit: Some(unit),
        } => format!("user {uid}, unit {unit}"),
        Kind::User { uid, unit: None } => format!("user {uid}"),
        Kind::Bare => "bare".into(),
        Kind::Root => "root".into(),
        other => format!("{other:?}"),
    }
}

/// The path, what it means, and the part of the path below that which is the identity's.
const PATHS: &[(&str, &str, &str)] = &[
    // containerd under Kubernetes, systemd driver: the three classes of service.
    (
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod_}.slice/cri-containerd-{A}.scope",
        "CriContainerd {A}, pod {pod}",
        "",
    ),
    (
        "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{pod_}.slice/cri-containerd-{A}.scope",
        "CriContainerd {A}, pod {pod}",
        "",
    ),
    (
        "/kubepods.slice/kubepods-pod{pod_}.slice/cri-containerd-{A}.scope",
        "CriContainerd {A}, pod {pod}",
        "",
    ),
    // A static pod's UID has no dashes.
    (
        "/kubepods.slice/kubepods-pod{static}.slice/cri-containerd-{A}.scope",
        "CriContainerd {A}, pod {static}",
        "",
    ),
    // cgroupfs driver.
    (
        "/kubepods/burstable/pod{pod}/{A}",
        "Unknown {A}, pod {pod}",
        "",
    ),
    ("/kubepods/pod{pod}/{A}", "Unknown {A}, pod {pod}", ""),
    (
        "/kubepods/besteffort/pod{pod}/crio-{A}",
        "CriO {A}, pod {pod}",
        "",
    ),
    // containerd with cgroupfs that was given a path of systemd's form.
    (
        "/system.slice/containerd.service/kubepods-burstable-pod{pod_}.slice:cri-containerd:{A}",
        "CriContainerd {A}, pod {pod}, unit containerd.service",
        "",
    ),
    (
        "/kubepods-besteffort-pod{pod_}.slice:cri-containerd:{A}",
        "CriContainerd {A}, pod {pod}",
        "",
    ),
    // CRI-O, with and without its own child cgroup.
    (
        "/kubepods.slice/kubepods-pod{pod_}.slice/crio-{A}.scope",
        "CriO {A}, pod {pod}",
        "",
    ),
    (
        "/kubepods.slice/kubepods-pod{pod_}.slice/crio-{A}.scope/container",
        "CriO {A}, pod {pod}",
        "/container",
    ),
    // The monitor is not in its container.
    (
        "/system.slice/crio-conmon-{A}.scope",
        "unit crio-conmon-{A}.scope",
        "",
    ),
    // A kubelet with a root cgroup of its own.
    (
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{pod_}.slice/cri-containerd-{A}.scope",
        "CriContainerd {A}, pod {pod}",
        "",
    ),
    // Docker.
    ("/system.slice/docker-{A}.scope", "Docker {A}", ""),
    ("/docker/{A}", "Docker {A}", ""),
    ("/my-parent.slice/docker-{A}.scope", "Docker {A}", ""),
    ("/my-parent/{A}", "Unknown {A}", ""),
    // A shell in a container, and a service manager inside.
    (
        "/system.slice/docker-{A}.scope/init.scope",
        "Docker {A}",
        "/init.scope",
    ),
    (
        "/docker/{A}/system.slice/nginx.service",
        "Docker {A}",
        "/system.slice/nginx.service",
    ),
    (
        "/docker/{A}/user.slice/user-0.slice/session-1.scope",
        "Docker {A}",
        "/user.slice/user-0.slice/session-1.scope",
    ),
    // Podman, by root and by a user.
    ("/machine.slice/libpod-{A}.scope", "Podman {A}", ""),
    (
        "/machine.slice/libpod-{A}.scope/container",
        "Podman {A}",
        "/container",
    ),
    ("/libpod_parent/libpod-{A}", "Podman {A}", ""),
    (
        "/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope",
        "Podman {A}",
        "",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container",
        "Podman {A}, user 1000",
        "/container",
    ),
    (
        "/machine.slice/libpod-conmon-{A}.scope",
        "unit libpod-conmon-{A}.scope",
        "",
    ),
    // containerd by itself.
    ("/default/redis", "Containerd redis", ""),
    ("/k8s.io/{A}", "Containerd {A}", ""),
    ("/moby/{A}", "Containerd {A}", ""),
    ("/system.slice/nerdctl-{A}.scope", "Containerd {A}", ""),
    // runc by itself, LXC.
    ("/system.slice/runc-my_box.1.scope", "Oci my_box.1", ""),
    (
        "/lxc.payload.web1/system.slice/cron.service",
        "Lxc web1",
        "/system.slice/cron.service",
    ),
    ("/lxc/web1", "Lxc web1", ""),
    ("/lxc.monitor.web1", "bare", ""),
    // Nested runtimes: the last container is the tenant.
    ("/docker/{A}/docker/{B}", "Docker {A} > Docker {B}", ""),
    (
        "/system.slice/docker-{A}.scope/docker/{B}/x",
        "Docker {A} > Docker {B}",
        "/x",
    ),
    (
        "/system.slice/docker-{A}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{pod_}.slice/cri-containerd-{B}.scope",
        "Docker {A} > CriContainerd {B}, pod {pod}",
        "",
    ),
    // systemd: units, templates, slices between, delegation, escaped names.
    ("/system.slice/nginx.service", "unit nginx.service", ""),
    (
        "/system.slice/system-getty.slice/getty@tty1.service",
        "unit getty@tty1.service",
        "",
    ),
    (
        "/system.slice/slurmd.service/job_1/worker.scope",
        "unit slurmd.service",
        "/job_1/worker.scope",
    ),
    ("/system.slice/_cpu.service", "unit cpu.service", ""),
    ("/init.scope", "unit init.scope", ""),
    (
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        "unit machine-qemu\\x2d1\\x2dvm.scope",
        "",
    ),
    // Users.
    (
        "/user.slice/user-1000.slice/session-3.scope",
        "user 1000, unit session-3.scope",
        "",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/jupyter.service/kernel",
        "user 1000, unit jupyter.service",
        "/kernel",
    ),
    (
        "/user.slice/user-1000.slice/user@1000.service/init.scope",
        "user 1000, unit init.scope",
        "",
    ),
    ("/user.slice/user-1000.slice", "user 1000", ""),
    ("/", "root", ""),
    ("/user.slice", "bare", ""),
    ("/system.slice", "bare", ""),
    ("/process_api/90459b8655b1a1af000abc49a8038b5d", "bare", ""),
    // Traps: names that only look like a runtime's.
    (
        "/machine.slice/libpod-{pod}.scope",
        "unit libpod-{pod}.scope",
        "",
    ),
    (
        "/system.slice/docker-short.scope",
        "unit docker-short.scope",
        "",
    ),
    ("/system.slice/docker.service", "unit docker.service", ""),
    (
        "/system.slice/my-pod{pod_}.slice/worker.service",
        "unit worker.service",
        "",
    ),
    ("/podcast/pod{pod}", "bare", ""),
    ("/kubepods.slice/kubepods-pod{pod_}.slice", "bare", ""),
    (
        "/user.slice/user-x.slice/session-3.scope",
        "unit session-3.scope",
        "",
    ),
    (
        "/a/user.slice/user-0.slice/session-3.scope",
        "unit session-3.scope",
        "",
    ),
    ("/user.slice/user-99999999999.slice", "bare", ""),
    // A user's service manager names a user of its own choice.
    (
        "/user.slice/user-1000.slice/user@1000.service/user.slice/user-0.slice/a.service",
        "user 1000, unit a.service",
        "",
    ),
];

#[test]
fn paths_of_real_runtimes() {
    for (path, meaning, below) in PATHS {
        let identity = of(path);
        assert_eq!(line(&identity), fill(meaning), "{path}");
        let expected = fill(path.strip_suffix(below).unwrap());
        assert_eq!(identity.path.to_str(), Some(expected.as_str()), "{path}");
    }
}

#[test]
fn a_container_cannot_become_another_one() {
    let victim = of("/docker/{B}");
    // Container A makes cgroups below its own, named like another container's.
    for path in [
        "/docker/{A}/docker/{B}",
        "/docker/{A}/docker-{B}.scope",
        "/docker/{A}/{B}",
    ] {
        let liar = of(path);
        assert_eq!(liar.container().unwrap().id, B);
        assert_eq!(liar.outermost().unwrap().id, A);
        assert_eq!(liar.outer(), of("/docker/{A}"));
        assert_ne!(liar, victim);
        assert_ne!(liar.path, victim.path);
        assert!(!liar.is_made_by_root());
    }
    assert!(victim.is_made_by_root());
    assert_eq!(victim.outer(), victim);
}

#[test]
fn a_container_cannot_move_itself_to_another_pod() {
    let other = "11111111-2222-3333-4444-555555555555";
    let own = "/kubepods/burstable/pod{pod}/{A}";
    for path in [
        format!("{own}/kubepods/pod{other}"),
        format!("{own}/kubepods-pod{}.slice", other.replace('-', "_")),
        format!("{own}/kubepods-pod{}.slice/worker", other.replace('-', "_")),
    ] {
        assert_eq!(of(&path), of(own), "{path}");
    }
}

#[test]
fn a_user_or_service_cannot_pass_for_roots_runtime() {
    for path in [
        "/user.slice/user-1000.slice/user@1000.service/docker-{A}.scope",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/x.service/docker/{A}",
        "/system.slice/ci-runner.service/docker/{A}",
        "/system.slice/ci-runner.service/kubepods/pod{pod}/{A}",
    ] {
        let identity = of(path);
        assert_eq!(identity.container().unwrap().id, A, "{path}");
        assert!(!identity.is_made_by_root(), "{path}");
    }
}

/// Contents of `/proc/PID/cgroup`, and what they mean.
const FILES: &[(&str, &str)] = &[
    ("0::/system.slice/nginx.service\n", "unit nginx.service"),
    ("0::/", "root"),
    // cgroup v1 with Docker.
    (
        "12:pids:/docker/{A}\n11:cpu,cpuacct:/docker/{A}\n5:memory:/docker/{A}\n1:name=systemd:/docker/{A}\n",
        "Docker {A}",
    ),
    // Hybrid: the v2 line says nothing.
    (
        "4:memory:/docker/{A}\n1:name=systemd:/docker/{A}\n0::/\n",
        "Docker {A}",
    ),
    (
        "4:memory:/docker/{A}\n1:name=systemd:/docker/{A}\n0::/system.slice/docker.service\n",
        "Docker {A}",
    ),
    (
        "5:devices:/user.slice\n4:memory:/\n1:name=systemd:/user.slice/user-1000.slice/session-2.scope\n0::/\n",
        "user 1000, unit session-2.scope",
    ),
    // Of v1, only controllers that every runtime uses decide.
    ("7:cpuset:/docker/{B}\n4:memory:/docker/{A}\n", "Docker {A}"),
    // A nested container that has only some hierarchies.
    (
        "5:pids:/docker/{A}\n4:memory:/docker/{A}/docker/{B}\n",
        "Docker {A} > Docker {B}",
    ),
    // A cgroup that was removed under its process; only v2 says so.
    (
        "0::/system.slice/docker-{A}.scope (deleted)\n",
        "Docker {A}",
    ),
    // Colons in a path are the path's.
    (
        "0::/system.slice/containerd.service/kubepods-pod{pod_}.slice:cri-containerd:{A}\n",
        "CriContainerd {A}, pod {pod}, unit containerd.service",
    ),
    (
        "9:name=systemd:/\n4:memory:/process_api/90459b8655b1a1af\n0::/\n",
        "bare",
    ),
];

#[test]
fn files_of_every_version_of_cgroups() {
    for (contents, meaning) in FILES {
        let identity = cgroup::parse(fill(contents).as_bytes()).unwrap();
        assert_eq!(line(&identity), fill(meaning), "{contents}");
    }
}

#[test]
fn files_that_name_no_identity() {
    let error = |contents: &str| cgroup::parse(fill(contents).as_bytes()).unwrap_err();
    assert_eq!(error(""), CgroupError::Empty);
    assert_eq!(error("7:cpuset:/docker/{A}\n"), CgroupError::Empty);
    assert_eq!(error("0::/a\nmemory:/b\n"), CgroupError::Form(2));
    assert_eq!(error("0::relative\n"), CgroupError::Form(1));
    assert_eq!(error("x::/a\n"), CgroupError::Form(1));
    assert_eq!(error("0::/../../docker/{A}\n"), CgroupError::Outside(1));
    assert_eq!(error("4:memory:/a\n0::/..\n"), CgroupError::Outside(2));
    assert_eq!(
        error("5:pids:/docker/{A}\n4:memory:/docker/{B}\n"),
        CgroupError::Disagree(A.into(), B.into())
    );
}

#[test]
fn a_name_that_is_no_text_stays_as_it_is() {
    let identity = CgroupIdentity::of_path(b"/a/\xff\xfe");
    assert_eq!(identity.kind, Kind::Bare);
    assert_eq!(identity.path.as_os_str().as_encoded_bytes(), b"/a/\xff\xfe");
    let inside = [b"/docker/", A.as_bytes(), b"/\xff"].concat();
    assert_eq!(CgroupIdentity::of_path(&inside), of("/docker/{A}"));
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(fill("docker-{A}.scope")),
        Just(fill("{B}")),
        Just("docker".to_owned()),
        Just("kubepods".to_owned()),
        Just(fill("pod{pod}")),
        Just(fill("kubepods-pod{pod_}.slice")),
        Just("user.slice".to_owned()),
        Just("user-1000.slice".to_owned()),
        Just("user@1000.service".to_owned()),
        Just("a.service".to_owned()),
        "[^/\n]{1,12}",
    ]
}

proptest! {
    /// Makes cgroups below a container. They change neither the outermost container nor the
    /// beginning of the path.
    #[test]
    fn nothing_below_a_container_leaves_it(
        above in proptest::collection::vec(name(), 0..4),
        below in proptest::collection::vec(name(), 0..6),
    ) {
        let base = format!("/{}", [above, vec![fill("docker-{A}.scope")]].concat().join("/"));
        let deep = format!("{base}/{}", below.join("/"));
        let (base, deep) = (CgroupIdentity::of_path(base.as_bytes()), CgroupIdentity::of_path(deep.as_bytes()));
        prop_assert_eq!(base.outermost(), deep.outermost());
        prop_assert!(deep.path.starts_with(&base.path));
        prop_assert!(base.is_made_by_root() || !deep.is_made_by_root());
    }

    /// Parses the path of an identity, which is the same identity.
    #[test]
    fn an_identity_names_itself(names in proptest::collection::vec(name(), 0..6)) {
        let path = format!("/{}", names.join("/"));
        let identity = CgroupIdentity::of_path(path.as_bytes());
        prop_assert!(path.as_bytes().starts_with(identity.path.as_os_str().as_encoded_bytes()));
        let again = CgroupIdentity::of_path(identity.path.as_os_str().as_encoded_bytes());
        prop_assert_eq!(again, identity);
    }

    /// Parses any bytes, which are an identity or an error.
    #[test]
    fn any_bytes_are_answered(contents in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = cgroup::parse(&contents);
    }
}

/// Checks what a person reads of an identity.
#[test]
fn a_kind_is_said_in_words() {
    let container = "a".repeat(64);
    for (path, said) in [
        (
            format!("/docker/{container}"),
            format!("container {container} of Docker"),
        ),
        (
            "/system.slice/nginx.service".to_owned(),
            "unit nginx.service".to_owned(),
        ),
        (
            "/somewhere".to_owned(),
            "no container, unit or user".to_owned(),
        ),
        ("/".to_owned(), "the root cgroup".to_owned()),
    ] {
        assert_eq!(of(&path).kind.to_string(), said, "{path}");
    }
}

#[test]
fn this_process_has_an_identity() {
    let own = fcsp_node::identity::Process::open(std::process::id()).unwrap();
    let identity = fcsp_node::identity::of_process(&own).unwrap();
    assert!(identity.path.is_absolute());
}
