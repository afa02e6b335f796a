//! The calls themselves, and what their failures mean.
//!
//! What matters about a failed assignment is whether it may have arrived. If no connection could
//! be made, or the worker refused it, it did not; after anything else it may have.

use std::{pin::Pin, str::FromStr as _, time::Duration};

use cloudai_core::{AssignAnswer, Assignment, Input, StopAnswer, StopRequest};
use cloudai_model::{AttemptId, WorkerAddress, WorkerId};
use cloudai_proto::{
    CancelAnswer, CancelRequest, LogMessage, LogRequest, MasterContact, Order, OrderTaken,
    Registered, WireError,
    cluster::{LogChunk, master_worker_client::MasterWorkerClient},
};
use futures_util::{Stream, StreamExt as _};
use tonic::{Code, Request, Status, metadata::MetadataValue, transport::Channel};
use tracing::debug;

use super::{
    Workers,
    channel::{Unreachable, cause, local_address_towards},
    old_nodes::{self, Age},
};

/// How long a worker has to answer a call.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long an assignment whose spec could not be read is held back.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Log chunks of a worker are smaller than this.
const LARGEST_MESSAGE: usize = 16 << 20;

type Client = MasterWorkerClient<Channel>;

/// A worker's log, message by message.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogMessage, LogStreamError>> + Send>>;

/// Why a worker's log can't be read just now.
#[derive(Debug, thiserror::Error)]
pub enum LogStreamError {
    /// The worker is not registered any more.
    #[error("worker {0} is not registered")]
    UnknownWorker(WorkerId),
    /// No connection.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    /// The call failed.
    #[error("the log stream broke: {}", cause(.0))]
    Call(#[source] Box<Status>),
    /// The worker sent something that can't be meant.
    #[error("the log stream can't be read")]
    Wire(#[from] WireError),
}

impl Workers {
    pub(super) async fn send_assignment(&self, assignment: Assignment) {
        let attempt = assignment.attempt.clone();
        let answer = match self.try_assign(assignment).await {
            Ok(()) => AssignAnswer::Accepted,
            Err(failure) => failure,
        };
        self.tell(Input::AssignAnswered { attempt, answer }).await;
    }

    async fn try_assign(&self, assignment: Assignment) -> Result<(), AssignAnswer> {
        let not_sent = |reason: String| AssignAnswer::NotSent(reason);
        let refused = |reason: String| AssignAnswer::Refused(reason);
        let snapshot = self.snapshots.latest();
        let worker = snapshot
            .workers
            .get(&assignment.worker)
            .ok_or_else(|| not_sent("it is not registered any more".to_owned()))?;
        let spec = self.specs.get(&assignment.attempt.task).await;
        let spec = match spec {
            Ok(spec) => spec,
            Err(error) => {
                // Not at once again: what keeps the store from being read may pass.
                tokio::time::sleep(STORE_PAUSE).await;
                return Err(not_sent(error.to_string()));
            }
        };
        let order = Order {
            spec,
            attempt: assignment.attempt,
            sequence: assignment.sequence,
            cluster: Some(snapshot.cluster.clone()),
            grant: assignment.grant,
            submitted_at: assignment.submitted_at,
            stop_grace: self.stop_grace,
        };
        let wire = if worker.is_old_node() {
            order.into_old_wire()
        } else {
            order.into_wire()
        };
        let address = worker.address.clone();
        let mut client = self
            .client(&address)
            .await
            .map_err(|error| refused(error.to_string()))?;
        let request = self.request(wire, &worker.id, worker.registration);
        match client.assign_task(request).await {
            Ok(ack) => match OrderTaken::from_wire(ack.into_inner()) {
                Ok(_) => Ok(()),
                Err(refused) => Err(AssignAnswer::Refused(refused.to_string())),
            },
            Err(status) => {
                self.channels.drop_if_broken(&address, &status);
                Err(assign_failure(&status))
            }
        }
    }

    pub(super) async fn send_stop(&self, request: StopRequest) {
        let answer = self
            .try_stop(&request)
            .await
            .unwrap_or_else(StopAnswer::Undelivered);
        let StopRequest {
            attempt, worker, ..
        } = request;
        self.tell(Input::StopAnswered {
            attempt,
            worker,
            answer,
        })
        .await;
    }

    async fn try_stop(&self, request: &StopRequest) -> Result<StopAnswer, String> {
        let mut client = self
            .client(&request.address)
            .await
            .map_err(|error| error.to_string())?;
        let wanted = CancelRequest {
            task: request.attempt.task.clone(),
            attempt: Some(request.attempt.number),
            user: None,
            reason: request.reason.clone(),
        };
        let age = Age::of(&self.snapshots.latest(), &request.worker, &request.address);
        let mut refusal = String::new();
        for wire in old_nodes::cancels(wanted, age) {
            let call = self.request(wire, &request.worker, request.registration);
            let answer = client.cancel_task(call).await.map_err(|status| {
                self.channels.drop_if_broken(&request.address, &status);
                cause(&status)
            })?;
            match CancelAnswer::from_wire(answer.into_inner()) {
                CancelAnswer::Taken { .. } => return Ok(StopAnswer::Stopping),
                CancelAnswer::NotHeld { .. } => return Ok(StopAnswer::NotHeld),
                CancelAnswer::Refused(refused) => refusal = refused.to_string(),
            }
        }
        match age {
            // Nothing else will tell: its heartbeats aren't heard, and new nodes don't refuse.
            Age::Unknown => Ok(StopAnswer::NotHeld),
            Age::Old | Age::New => Err(refusal),
        }
    }

    pub(super) async fn send_invitation(
        &self,
        worker: &WorkerId,
        address: &WorkerAddress,
        registration: u64,
    ) {
        if let Err(reason) = self.try_invite(worker, address, registration).await {
            // It comes by itself when it is started; here this is news for the curious.
            debug!(%worker, %address, reason, "worker not reached");
        }
    }

    async fn try_invite(
        &self,
        worker: &WorkerId,
        address: &WorkerAddress,
        registration: u64,
    ) -> Result<(), String> {
        let mut client = self
            .client(address)
            .await
            .map_err(|error| error.to_string())?;
        let snapshot = self.snapshots.latest();
        let is_old = Age::of(&snapshot, worker, address) == Age::Old;
        let contact = MasterContact {
            master_id: "master".to_owned(),
            address: self
                .address_towards(address)
                .await
                .map_err(|error| error.to_string())?,
            cluster: (!is_old).then(|| snapshot.cluster.clone()),
            worker: (!is_old).then(|| worker.clone()),
        };
        let call = self.request(contact.into_wire(), worker, registration);
        let answer = client.master_register(call).await.map_err(|status| {
            self.channels.drop_if_broken(address, &status);
            cause(&status)
        })?;
        let answer = Registered::from_wire(answer.into_inner());
        answer
            .map_err(|error| error.to_string())?
            .map_err(|refused| refused.to_string())?;
        Ok(())
    }

    /// Where a worker at this address reaches the master.
    ///
    /// # Errors
    /// If there is no way to it.
    pub async fn address_towards(&self, address: &WorkerAddress) -> std::io::Result<String> {
        if let Some(advertised) = &self.advertise {
            return Ok(advertised.clone());
        }
        let mut local = local_address_towards(address).await?;
        local.set_port(self.grpc_port);
        Ok(local.to_string())
    }

    /// Where a worker that can't be looked up may reach the master.
    #[must_use]
    pub fn any_address(&self) -> String {
        match &self.advertise {
            Some(advertised) => advertised.clone(),
            None => format!("<this machine>:{}", self.grpc_port),
        }
    }

    /// Follows the framed log of an attempt from a byte on; of an old node, which has no framed one,
    /// its text from the start.
    ///
    /// # Errors
    /// If the worker can't be reached or refuses.
    pub async fn log_stream(
        &self,
        worker: &WorkerId,
        attempt: &AttemptId,
        offset: u64,
    ) -> Result<LogStream, LogStreamError> {
        let snapshot = self.snapshots.latest();
        let entry = snapshot
            .workers
            .get(worker)
            .ok_or_else(|| LogStreamError::UnknownWorker(worker.clone()))?;
        let mut client = self.client(&entry.address).await?;
        let request = LogRequest {
            task: attempt.task.clone(),
            attempt: Some(attempt.number),
            user: None,
            follow: true,
            framed: true,
            offset,
            without_text: true,
        };
        let wire = if entry.is_old_node() {
            request.into_old_wire()
        } else {
            request.into_wire()
        };
        let mut call = self.request(wire, worker, entry.registration);
        // A log may be followed for days: no deadline, the connection's keep-alive watches it.
        call.metadata_mut().remove("grpc-timeout");
        let chunks = client.stream_task_logs(call).await.map_err(|status| {
            self.channels.drop_if_broken(&entry.address, &status);
            LogStreamError::Call(Box::new(status))
        })?;
        let read = |chunk: Result<LogChunk, Status>| {
            let chunk = chunk.map_err(|status| LogStreamError::Call(Box::new(status)))?;
            Ok(LogMessage::from_wire(chunk)?)
        };
        Ok(Box::pin(chunks.into_inner().map(read)))
    }

    async fn client(&self, address: &WorkerAddress) -> Result<Client, Unreachable> {
        let channel = self.channels.get(address).await?;
        Ok(Client::new(channel)
            .max_decoding_message_size(LARGEST_MESSAGE)
            .max_encoding_message_size(LARGEST_MESSAGE))
    }

    /// A call with the worker's token and a deadline.
    fn request<T>(&self, message: T, worker: &WorkerId, registration: u64) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(ANSWER_WITHIN);
        let bearer = format!("Bearer {}", self.tokens.of(worker, registration));
        let value = MetadataValue::from_str(&bearer).expect("a token is hex digits");
        request.metadata_mut().insert("authorization", value);
        request
    }
}

/// What a failed assignment call says of the assignment.
fn assign_failure(status: &Status) -> AssignAnswer {
    let reason = cause(status);
    match status.code() {
        // Said by the worker before it took anything in.
        Code::PermissionDenied
        | Code::Unauthenticated
        | Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::ResourceExhausted
        | Code::Unimplemented
        | Code::OutOfRange
        | Code::NotFound => AssignAnswer::Refused(reason),
        _ => AssignAnswer::Undelivered(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_workers_own_no_means_that_it_did_not_arrive() {
        let refused = assign_failure(&Status::permission_denied("no token"));
        assert_eq!(refused, AssignAnswer::Refused("no token".into()));
        for code in [
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Unknown,
            Code::Cancelled,
        ] {
            let failure = assign_failure(&Status::new(code, "?"));
            assert!(matches!(failure, AssignAnswer::Undelivered(_)), "{code:?}");
        }
    }
}
