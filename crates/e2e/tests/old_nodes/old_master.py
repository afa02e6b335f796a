"""A test peer: a master as the contract says the earlier Go masters behave.

It speaks only the numbered fields of the contract's tables (old.proto beside this file). It is no
master to be used: it assigns what it is told to on stdin, one JSON object a line, and says what it
sees on stdout. A worker that hasn't registered since its start is unknown to it.
"""

import argparse
import hashlib
import json
import sys
import threading
from concurrent import futures

import grpc
import old_pb2 as pb
import old_pb2_grpc as rpc
from told import tell, unknown


class Master(rpc.MasterWorkerServicer):
    def __init__(self, options):
        self.options = options
        self.workers = set()
        self.reports = 0

    # What workers call.

    def RegisterWorker(self, request, context):
        tell(
            "RegisterWorker",
            worker_id=request.worker_id,
            ip=request.worker_ip,
            cpu=request.total_cpu,
            memory=request.total_memory,
            peer=context.peer(),
        )
        self.workers.add(request.worker_id)
        return pb.RegisterAck(success=True, message="Worker registered successfully")

    def SendHeartbeat(self, request, context):
        tell(
            "SendHeartbeat",
            worker_id=request.worker_id,
            memory=request.memory_usage,
            running=[
                {
                    "task_id": task.task_id,
                    "status": task.status,
                    "cpu": task.cpu_allocated,
                    "memory": task.memory_allocated,
                }
                for task in request.running_tasks
            ],
            unknown=unknown(request),
        )
        return pb.HeartbeatAck(success=request.worker_id in self.workers)

    def ReportTaskCompletion(self, request, context):
        tell(
            "ReportTaskCompletion",
            task_id=request.task_id,
            worker_id=request.worker_id,
            status=request.status,
            logs=request.logs,
            output_files=list(request.output_files),
            unknown=unknown(request),
        )
        self.reports += 1
        if self.reports <= self.options.fail_reports:
            context.abort(grpc.StatusCode.UNKNOWN, "no such task")
        if self.reports <= self.options.fail_reports + self.options.refuse_reports:
            return pb.Ack(success=False, message="not now")
        return pb.Ack(success=True, message="Task result received")

    def UploadTaskFiles(self, request_iterator, context):
        files, current, data, fields, ended = [], None, b"", [], False
        first = None
        for chunk in request_iterator:
            first = first or chunk
            fields += unknown(chunk)
            if ended or (current not in (None, chunk.file_path)):
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "out of order")
            current, data = chunk.file_path, data + chunk.data
            if chunk.is_last_chunk:
                digest = hashlib.sha256(data).hexdigest()
                files.append({"path": current, "size": len(data), "sha256": digest})
                current, data, ended = None, b"", chunk.is_last_file
        tell(
            "UploadTaskFiles",
            task_id=first.task_id,
            user_id=first.user_id,
            task_name=first.task_name,
            timestamp=first.timestamp,
            files=files,
            whole=ended,
            unknown=fields,
        )
        return pb.FileUploadAck(success=True, message="ok", files_received=len(files))

    # What it calls at its workers.

    def do(self, wish):
        worker = rpc.MasterWorkerStub(grpc.insecure_channel(wish["worker"]))
        kind = wish["do"]
        if kind == "register":
            info = pb.MasterInfo(master_id="old-master", master_address=wish["address"])
            ack = worker.MasterRegister(info, timeout=10)
        elif kind == "assign":
            ack = worker.AssignTask(pb.Task(**wish["task"]), timeout=10)
        elif kind == "cancel":
            ack = worker.CancelTask(pb.TaskID(task_id=wish["task_id"]), timeout=10)
        elif kind == "logs":
            request = pb.TaskLogRequest(task_id=wish["task_id"], user_id="ann", follow=True)
            text, times, fields = "", [], []
            for chunk in worker.StreamTaskLogs(request, timeout=60):
                fields += unknown(chunk)
                text += chunk.content
                if chunk.content:
                    times.append(chunk.timestamp)
                    tell("line", task_id=chunk.task_id, content=chunk.content)
                last = chunk
            tell(
                "logs",
                text=text,
                times=times,
                complete=last.is_complete,
                status=last.status,
                unknown=fields,
            )
            return
        else:
            raise ValueError(f"expected register, assign, cancel or logs, got {kind}")
        tell(kind, success=ack.success, message=ack.message, unknown=unknown(ack))

    def try_to(self, wish):
        try:
            self.do(wish)
        except grpc.RpcError as error:
            tell(wish["do"], success=False, code=error.code().name, message=error.details())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--fail-reports", type=int, default=0, help="the first so many")
    parser.add_argument("--refuse-reports", type=int, default=0, help="so many after these")
    master = Master(parser.parse_args())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    rpc.add_MasterWorkerServicer_to_server(master, server)
    server.add_insecure_port(master.options.listen)
    server.start()
    tell("serving")
    for line in sys.stdin:
        threading.Thread(target=master.try_to, args=(json.loads(line),)).start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
