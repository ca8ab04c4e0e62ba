//! What the log says of a round that failed, and how loud.

use std::error::Error;
use std::time::{Duration, Instant};

use crate::app::chain;
use crate::config::CommonConfig;
use crate::db::Reason;

/// `Job J crashed: MESSAGE`, or of a statement that failed
/// `Job J got error on connection 'CONN': MESSAGE.   Query: SQL`.
///
/// What the program has to say about the statement beyond that follows as `   While: …`.
pub(super) fn line(job: &str, error: &(dyn Error + 'static)) -> String {
    let mut context = Vec::new();
    let mut next = Some(error);
    while let Some(here) = next {
        if let Some(reason) = here.downcast_ref::<Reason>()
            && let (Some(connection), Some(query)) = (reason.connection(), reason.query())
        {
            let message = reason.message();
            let message = message.trim_end().trim_end_matches('.');
            // The step and the connection, which the query and the line say better.
            context.pop();
            let context = match context.as_slice() {
                [] => String::new(),
                texts => format!("   While: {}", texts.join(": ")),
            };
            return format!(
                "Job {job} got error on connection '{connection}': {message}.   Query: \
                 {query}{context}"
            );
        }
        context.push(here.to_string());
        next = here.source();
    }
    format!("Job {job} crashed: {}", chain(error))
}

/// Since when rounds fail.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    first: Option<Instant>,
}

impl Troubles {
    /// Notes a round that went well; long after the first failure it is forgotten.
    pub(super) fn success(&mut self, reset: Duration) {
        if self.first.is_some_and(|first| first.elapsed() > reset) {
            self.first = None;
        }
    }

    /// Notes a failed round, and says whether a person must look: not if errors of this kind are
    /// expected to pass, and the time for that is not over.
    pub(super) fn are_news(
        &mut self,
        error: &(dyn Error + 'static),
        common: &CommonConfig,
    ) -> bool {
        let first = *self.first.get_or_insert_with(Instant::now);
        let quiet = &common.exception_quiet;
        let expected = quiet.iter().any(|name| name == "ALL")
            || names(error).iter().any(|name| quiet.contains(name));
        !expected || first.elapsed() >= common.exception_grace
    }
}

/// What an error may be called in `exception_quiet`: the SQLSTATE, its class, and the names of the
/// variants it consists of.
fn names(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = Some(error);
    while let Some(here) = next {
        if let Some(state) = here.downcast_ref::<Reason>().and_then(Reason::sql_state) {
            names.push(state.code().to_owned());
            names.extend(state.code().get(..2).map(str::to_owned));
        }
        // `Queue(LostPosition { start: …`
        let shown = format!("{here:?}");
        let mut rest = shown.as_str();
        loop {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
            if !name.is_empty() {
                names.push(name.to_owned());
            }
            match after.strip_prefix('(') {
                Some(inner) => rest = inner,
                None => break,
            }
        }
        next = here.source();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error(transparent)]
        Queue(#[from] Inner),
        #[error("cannot go on")]
        Told(#[source] Inner),
    }

    #[derive(Debug, thiserror::Error)]
    enum Inner {
        #[error("lost position at {at}")]
        LostPosition { at: i64 },
    }

    #[test]
    fn an_error_is_known_by_the_names_of_its_variants() {
        let queue = Outer::from(Inner::LostPosition { at: 7 });
        assert_eq!(names(&queue), ["Queue", "LostPosition"]);
        let told = Outer::Told(Inner::LostPosition { at: 7 });
        assert_eq!(names(&told), ["Told", "LostPosition", "LostPosition"]);
    }

    #[test]
    fn an_error_without_a_statement_is_a_crash() {
        let error = Outer::Told(Inner::LostPosition { at: 7 });
        assert_eq!(
            line("j", &error),
            "Job j crashed: cannot go on: lost position at 7"
        );
    }
}
