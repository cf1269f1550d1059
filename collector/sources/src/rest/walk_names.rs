//! What a walk asks for at one of its levels: the endpoint, its path, and the values of the path's
//! placeholders.

use domain::incident::Pivot;

use super::children::PendingChild;
use super::cursor::WalkLevel;
use super::endpoint::Endpoint;
use super::template::Names;
use super::walk::Walk;

impl Walk<'_> {
    /// The endpoint whose listing `level` is.
    pub(super) fn endpoint_of(&self, root: u16, level: &WalkLevel) -> &'static Endpoint {
        let root = self.roots[usize::from(root)].endpoint;
        level.path.iter().fold(root, |endpoint, (child, _)| {
            let child = endpoint.children.get(usize::from(*child));
            child.map_or(endpoint, |child| child.endpoint)
        })
    }

    /// The children of the listing of `level` that a search asks: all, unless the step searches for
    /// a pivot by which no listing has been filtered so far. Then only what leads to one that is.
    pub(super) fn is_searched(&self, root: u16, level: &WalkLevel, child: &PendingChild) -> bool {
        let Some(kind) = self.step.pivot.as_ref().map(Pivot::kind) else {
            let parent = self.endpoint_of(root, level);
            let child = parent.children.get(usize::from(child.0));
            return child.is_some_and(|child| !child.endpoint.only_in_search);
        };
        let mut endpoint = self.roots[usize::from(root)].endpoint;
        for (index, _) in level.path.iter().chain([child]) {
            if endpoint.pivot_query(kind).is_some() {
                return true;
            }
            let Some(child) = endpoint.children.get(usize::from(*index)) else {
                return false;
            };
            endpoint = child.endpoint;
        }
        endpoint.filters_by(kind)
    }

    /// The path to ask for `level`, and what to fill in.
    pub(super) fn path_and_names(&self, root: u16, level: &WalkLevel) -> (String, Names) {
        let root = &self.roots[usize::from(root)];
        let mut names = self.names(&root.names);
        let mut endpoint = root.endpoint;
        for (child, values) in &level.path {
            let Some(child) = endpoint.children.get(usize::from(*child)) else {
                break;
            };
            let taken = child.takes.iter().map(|(name, _)| (*name).to_owned());
            names.extend(taken.zip(values.iter().cloned()));
            endpoint = child.endpoint;
        }
        let mut path = endpoint.path.to_owned();
        if let Some(window) = &endpoint.window
            && let Some(part) = level.part()
        {
            let (from, until) = part.spelled(window);
            names.insert("from".to_owned(), from);
            names.insert("until".to_owned(), until);
            if let (true, Some(polling)) = (self.polling, window.polling) {
                polling.clone_into(&mut path);
            }
        }
        if let Some(pivot) = &self.step.pivot {
            let query = endpoint.pivot_query(pivot.kind()).unwrap_or_default();
            // filters have it in quotes, which it must not end
            let in_apostrophes = pivot.value().replace('\'', "''");
            names.insert("pivot_odata".to_owned(), in_apostrophes);
            let value = pivot.value().replace('\\', "\\\\").replace('"', "\\\"");
            let first = value.split('/').next().unwrap_or_default();
            let last = value.rsplit('/').next().unwrap_or_default();
            names.insert("pivot_first".to_owned(), first.to_owned());
            names.insert("pivot_last".to_owned(), last.to_owned());
            names.insert("pivot_kind".to_owned(), pivot.kind().to_string());
            if endpoint.post.is_some() {
                names.insert("narrow".to_owned(), query.replace("{pivot}", &value));
            } else {
                path.push_str(query);
            }
            names.insert("pivot".to_owned(), value);
        }
        (path, names)
    }

    pub(super) fn names(&self, root_names: &[(&'static str, String)]) -> Names {
        let narrow = ("narrow", String::new());
        let both = self.target_names.iter().chain(root_names);
        both.chain([&narrow])
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }
}
