//! What the API server has of one kind, asked for once: for commands, which look and end.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    ApiServer, Kind, Timing, decode,
    failure::{Failure, Verb},
    follow::undecodable,
    request::Requests,
    wire::WireError,
};
use crate::objects::{Object, ObjectRef};

/// A connection takes up to 10 s to fail by itself, and then says more than that nothing came.
const ANSWER: Duration = Duration::from_secs(11);
/// How long a list may take as a whole.
const WHOLE: Duration = Duration::from_secs(12);

/// All of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Listed {
    /// The objects, as the server orders them
    pub objects: Vec<Object>,
    /// Those that cannot be read, and what is wrong with each; the name is empty if not even that could be read
    pub undecodable: Vec<(ObjectRef, String)>,
}

/// A kind that could not be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlisted {
    /// These credentials may not list it, and all else is well
    pub forbidden: bool,
    /// What was attempted, why it failed and who can mend it
    pub error: String,
}

/// Lists a kind, all of it: Nodes, too, and of Pods what tells why they are endpoints or are not. An API that the server
/// does not have (ServiceCIDR before Kubernetes 1.33) counts as a list without objects.
///
/// # Errors
/// The server cannot be reached, does not let these credentials list it, or takes more than a few seconds.
pub async fn list(server: &ApiServer, kind: Kind) -> Result<Listed, Unlisted> {
    let requests = Requests::new(server.clone(), kind, "", Timing { answer: ANSWER, ..Timing::default() });
    let listed = match timeout(WHOLE, whole(&requests)).await {
        // The pages were too slow for the state that the first one showed; another try may be in time.
        Ok(Err(Failure::Expired)) => timeout(WHOLE, whole(&requests)).await,
        listed => listed,
    };
    match listed {
        Ok(Err(Failure::Refused(status))) if status.code == 404 && kind == Kind::ServiceCidr => Ok(Listed::default()),
        Ok(Err(failure)) => {
            let forbidden = matches!(&failure, Failure::Refused(status) if status.code == 403);
            Err(Unlisted { forbidden, error: failure.advice(Verb::List, kind, server) })
        }
        Ok(Ok(listed)) => Ok(listed),
        Err(_) => {
            let (resource, address) = (kind.resource(), &server.address);
            let seconds = WHOLE.as_secs();
            let error = format!("cannot list {resource} at the API server {address}: not complete after {seconds} s");
            Err(Unlisted { forbidden: false, error })
        }
    }
}

async fn whole(requests: &Requests) -> Result<Listed, Failure> {
    let (mut listed, mut page) = (Listed::default(), String::new());
    loop {
        let body = requests.page(&page).await?;
        let list = decode::list(&body)?;
        for bytes in &list.items {
            match decode::whole(requests.kind, bytes) {
                Ok(object) => listed.objects.push(object),
                Err(error) => listed.undecodable.push(unreadable(requests.kind, bytes, &error)),
            }
        }
        if list.next_page.is_empty() {
            return Ok(listed);
        }
        page = list.next_page;
    }
}

fn unreadable(kind: Kind, bytes: &[u8], error: &WireError) -> (ObjectRef, String) {
    let identity = decode::identity(bytes).unwrap_or_default();
    undecodable(kind, &identity, error)
}
