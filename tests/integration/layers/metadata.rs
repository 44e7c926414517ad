//! The workspace as `cargo metadata` tells it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::Value;

/// Every package of the build on this platform, ours and theirs.
pub(super) struct Workspace {
    packages: BTreeMap<String, Package>,
    ours: BTreeSet<String>,
    /// Package id to the ids that are linked into it: normal and build dependencies.
    links: BTreeMap<String, BTreeSet<String>>,
}

/// One package.
#[derive(Debug, Clone)]
pub(super) struct Package {
    id: String,
    /// Its name.
    pub(super) name: String,
    /// Its folder, relative to the root.
    pub(super) folder: String,
    /// Its licence expression.
    pub(super) licence: Option<String>,
    /// The names it depends on to be built.
    pub(super) dependencies: Vec<String>,
    /// The names that only its tests depend on.
    test_dependencies: Vec<String>,
    /// Its features, and what each switches on.
    pub(super) features: BTreeMap<String, Vec<String>>,
    /// The features that it asks of each dependency, of its tests too.
    pub(super) asked_features: Vec<(String, Vec<String>)>,
}

impl Workspace {
    /// Asks cargo, without the network. Only this platform's packages: the others need not be here.
    pub(super) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--offline", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(root)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cargo metadata: {said}");
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let resolved = metadata["resolve"]["nodes"].as_array().unwrap();
        let links: BTreeMap<_, _> = resolved
            .iter()
            .map(|node| (text(&node["id"]), linked(node)))
            .collect();
        let packages = metadata["packages"].as_array().unwrap();
        Self {
            packages: packages
                .iter()
                .map(|value| package(value, root))
                .filter(|package| links.contains_key(&package.id))
                .map(|package| (package.id.clone(), package))
                .collect(),
            ours: strings(&metadata["workspace_members"]),
            links,
        }
    }

    /// Our packages.
    pub(super) fn ours(&self) -> impl Iterator<Item = &Package> {
        let packages = self.packages.values();
        packages.filter(|package| self.ours.contains(&package.id))
    }

    /// Everybody else's.
    pub(super) fn theirs(&self) -> impl Iterator<Item = &Package> {
        let packages = self.packages.values();
        packages.filter(|package| !self.ours.contains(&package.id))
    }

    /// Which of ours a package or its tests name as a dependency.
    pub(super) fn our_dependencies(&self, package: &Package) -> Vec<String> {
        let is_ours = |name: &&String| self.ours().any(|ours| ours.name == **name);
        let named = package
            .dependencies
            .iter()
            .chain(&package.test_dependencies);
        named
            .filter(|name| **name != package.name)
            .filter(is_ours)
            .cloned()
            .collect()
    }

    /// Which of ours name a package as a dependency, of theirs or of their tests.
    pub(super) fn users_of(&self, name: &str) -> BTreeSet<String> {
        let named = |package: &&Package| {
            let mut all = package
                .dependencies
                .iter()
                .chain(&package.test_dependencies);
            package.name != name && all.any(|used| used == name)
        };
        self.ours()
            .filter(named)
            .map(|user| user.name.clone())
            .collect()
    }

    /// The names of everything that is linked into a package, however far away.
    pub(super) fn linked_into(&self, package: &Package) -> BTreeSet<&str> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![package.id.as_str()]);
        while let Some(id) = open.pop() {
            for next in self.links.get(id).into_iter().flatten() {
                if seen.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        let name = |id: &str| self.packages.get(id).map(|package| package.name.as_str());
        seen.into_iter().filter_map(name).collect()
    }

    /// Plants a dependency, to see that it is found.
    pub(super) fn pretend(&mut self, user: &str, link: &str) {
        let id = |name: &str| {
            let mut packages = self.packages.values();
            packages
                .find(|package| package.name == name)
                .unwrap()
                .id
                .clone()
        };
        let (user, used_id) = (id(user), id(link));
        let package = self.packages.get_mut(&user).unwrap();
        package.dependencies.push(link.to_owned());
        self.links.entry(user).or_default().insert(used_id);
    }

    /// Plants a feature, to see that it is found.
    pub(super) fn pretend_feature(&mut self, user: &str, feature: &str, means: &str) {
        let mut packages = self.packages.values_mut();
        let package = packages.find(|package| package.name == user).unwrap();
        let means = vec![means.to_owned()];
        package.features.insert(feature.to_owned(), means);
    }
}

fn package(value: &Value, root: &Path) -> Package {
    let manifest = text(&value["manifest_path"]);
    let folder = Path::new(&manifest).parent().unwrap();
    let dependencies = value["dependencies"].as_array().unwrap();
    let names = |for_tests: bool| {
        let of_kind = |used: &&Value| (used["kind"] == "dev") == for_tests;
        let names = dependencies.iter().filter(of_kind);
        names.map(|used| text(&used["name"])).collect()
    };
    Package {
        id: text(&value["id"]),
        name: text(&value["name"]),
        folder: text_of(folder.strip_prefix(root).unwrap_or(folder)),
        licence: value["license"].as_str().map(str::to_owned),
        dependencies: names(false),
        test_dependencies: names(true),
        features: value["features"]
            .as_object()
            .map_or_else(BTreeMap::new, |all| {
                all.iter()
                    .map(|(name, means)| (name.clone(), list(means)))
                    .collect()
            }),
        asked_features: dependencies
            .iter()
            .map(|used| (text(&used["name"]), list(&used["features"])))
            .collect(),
    }
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

/// The normal and build dependencies of a resolved node; those of tests are not linked.
fn linked(node: &Value) -> BTreeSet<String> {
    let dependencies = node["deps"].as_array().unwrap().iter();
    let is_linked = |dependency: &&Value| {
        let kinds = dependency["dep_kinds"].as_array().unwrap();
        kinds.iter().any(|kind| kind["kind"] != "dev")
    };
    dependencies
        .filter(is_linked)
        .map(|dependency| text(&dependency["pkg"]))
        .collect()
}

fn strings(value: &Value) -> BTreeSet<String> {
    value.as_array().unwrap().iter().map(text).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
