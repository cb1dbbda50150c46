//! Gathers what is found on the way, and says what it comes to.

use super::{Cause, Explanation, Mark, Outcome, Prediction, Stage, Step, Verdict};

/// So many remarks the sentence names; the steps have all.
const REMARKS: usize = 3;

/// Something that keeps the Service from working, or that is to be known although it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub stage: Stage,
    pub cause: Cause,
    /// Follows the word "because" or "but"; with names and numbers
    pub because: String,
    /// What to do; may be empty
    pub remedy: String,
}

impl Fault {
    pub fn new(stage: Stage, cause: Cause, because: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { stage, cause, because: because.into(), remedy: remedy.into() }
    }

    fn text(&self) -> String {
        match self.remedy.as_str() {
            "" => self.because.clone(),
            remedy => format!("{}: {remedy}", self.because),
        }
    }
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Report {
    question: String,
    steps: Vec<Step>,
    overruling: Option<Fault>,
    broken: Vec<Fault>,
    remarks: Vec<Fault>,
    unsure: Vec<String>,
    /// What is said of it if it works
    pub works: String,
    pub prediction: Prediction,
}

impl Report {
    pub fn new(question: String) -> Self {
        let endpoints = Default::default();
        let prediction = Prediction { outcome: Outcome::NoAddress, frontend: None, endpoints, hidden: false };
        Self {
            question,
            steps: Vec::new(),
            overruling: None,
            broken: Vec::new(),
            remarks: Vec::new(),
            unsure: Vec::new(),
            works: String::new(),
            prediction,
        }
    }

    pub fn step(&mut self, stage: Stage, mark: Mark, text: impl Into<String>) {
        self.steps.push(Step { stage, mark, text: text.into() });
    }

    pub fn good(&mut self, stage: Stage, text: impl Into<String>) {
        self.step(stage, Mark::Good, text);
    }

    pub fn note(&mut self, stage: Stage, text: impl Into<String>) {
        self.step(stage, Mark::Note, text);
    }

    /// It does not work because of this.
    pub fn breaks(&mut self, fault: Fault, outcome: Outcome) {
        self.step(fault.stage, Mark::Broken, fault.text());
        if self.broken.is_empty() {
            self.prediction.outcome = outcome;
            self.prediction.endpoints.clear();
            self.prediction.hidden = false;
        }
        self.broken.push(fault);
    }

    /// It does not work because of this, and not even what was decided happens: packets never come to it.
    pub fn overrules(&mut self, fault: Fault, outcome: Outcome) {
        self.step(fault.stage, Mark::Broken, fault.text());
        self.prediction.outcome = outcome;
        self.prediction.endpoints.clear();
        self.prediction.hidden = false;
        self.overruling = Some(fault);
    }

    /// It works in spite of this.
    pub fn remark(&mut self, fault: Fault) {
        self.step(fault.stage, Mark::Warning, fault.text());
        self.remarks.push(fault);
    }

    /// Takes over what was found on a way that was tried aside.
    pub fn absorb(&mut self, other: Report) {
        self.steps.extend(other.steps);
        self.broken.extend(other.broken);
        self.remarks.extend(other.remarks);
        self.unsure.extend(other.unsure);
        self.works = other.works;
        self.prediction = other.prediction;
    }

    /// What could not be found out, and might break it: the sentence says so, and blames nobody.
    pub fn unsure(&mut self, what: impl Into<String>) {
        self.unsure.push(what.into());
    }

    /// What breaks it first.
    pub fn into_first(mut self) -> Option<Fault> {
        self.broken.sort_by_key(|fault| fault.stage);
        self.broken.into_iter().next()
    }

    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty() || self.overruling.is_some()
    }

    /// The answer. What comes first on the way is the cause.
    pub fn finish(mut self) -> Explanation {
        self.steps.sort_by_key(|step| step.stage);
        self.broken.sort_by_key(|fault| fault.stage);
        // That nobody looks after it matters less than what it came to.
        self.remarks.sort_by_key(|fault| (fault.cause == Cause::AgentDead, fault.stage));
        let unsure: String = self.unsure.iter().map(|what| format!("; not known is {what}")).collect();
        let (verdict, cause, sentence) = match (&self.overruling, self.broken.first(), self.remarks.first()) {
            (Some(fault), first, _) => {
                let then =
                    first.map_or(String::new(), |fault| format!("; and then still not, because {}", fault.text()));
                (Verdict::Fails, Some(fault.cause), format!("does not work because {}{then}", fault.text()))
            }
            (None, Some(fault), _) => {
                (Verdict::Fails, Some(fault.cause), format!("does not work because {}", fault.text()))
            }
            (None, None, Some(fault)) => {
                let all: Vec<String> = self.remarks.iter().take(REMARKS).map(Fault::text).collect();
                let more = match self.remarks.len().saturating_sub(REMARKS) {
                    0 => String::new(),
                    more => format!("; and {more} more to know, above"),
                };
                let sentence = format!("works, but {}{more}{unsure}", all.join("; also, "));
                (Verdict::WorksBut, Some(fault.cause), sentence)
            }
            (None, None, None) => (Verdict::Works, None, format!("works: {}{unsure}", self.works)),
        };
        Explanation {
            question: self.question,
            steps: self.steps,
            verdict,
            cause,
            prediction: self.prediction,
            sentence: one_line(&sentence),
        }
    }
}

/// The sentence is the last line: what was read of objects may have others.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
