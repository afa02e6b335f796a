"""A test peer: a worker as the contract says the earlier Go workers behave.

It speaks only the numbered fields of the contract's tables (old.proto beside this file). It is no
worker to be used: it runs a task's command as a plain process of this machine, in a folder that
$OUTPUT names in place of /output, and knows no images. What it sees it says on stdout.

An attempt leaves its list of running tasks when the process ends; then it sends the files, then
the result, and repeats what the master could not be reached for.
"""

import argparse
import datetime
import os
import signal
import subprocess
import tempfile
import threading
import time
from concurrent import futures

import grpc
import old_pb2 as pb
import old_pb2_grpc as rpc
from told import tell, unknown

CHUNK = 1000
# What is not tried again.
FOR_GOOD = [grpc.StatusCode.INVALID_ARGUMENT]
# Kills a process group that has not ended by itself, and removes its folder.
SWEEP = 'read -r word; [ -n "$word" ] || kill -KILL -- "-$1"; cat; rm -rf "$2"'


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


class Running:
    """One task's process, and the text that it has written."""

    def __init__(self, task):
        self.task = task
        self.folder = tempfile.mkdtemp(prefix="old-worker-")
        self.pieces = []
        self.ended = None
        self.changed = threading.Condition()
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", task.command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env={**os.environ, "OUTPUT": self.folder},
            start_new_session=True,
        )
        # However this program ends, its end closes the pipe to this one, which then cleans up.
        self.sweeper = subprocess.Popen(
            ["/bin/sh", "-c", SWEEP, "sweeper", str(self.process.pid), self.folder],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def follow(self):
        for line in self.process.stdout:
            with self.changed:
                self.pieces.append((line.decode("utf-8", "replace"), now()))
                self.changed.notify_all()
        code = self.process.wait()
        self.sweeper.stdin.write(b"ended\n")
        self.sweeper.stdin.flush()
        with self.changed:
            self.ended = "success" if code == 0 else "failure"
            self.changed.notify_all()

    def stop(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def text(self):
        return "".join(text for text, _ in self.pieces)

    def files(self):
        found = []
        for folder, _, names in os.walk(self.folder):
            found += [os.path.relpath(os.path.join(folder, name), self.folder) for name in names]
        return sorted(found)


class Worker(rpc.MasterWorkerServicer):
    def __init__(self, options):
        self.options = options
        self.known = {}
        self.running = {}
        self.registered_at = None
        self.streams = 0
        self.lock = threading.Lock()

    # What a master calls.

    def MasterRegister(self, request, context):
        tell("MasterRegister", address=request.master_address, unknown=unknown(request))
        if self.registered_at != request.master_address:
            threading.Thread(target=self.register, args=(request.master_address,)).start()
        return pb.RegisterAck(success=True, message="hello")

    def AssignTask(self, request, context):
        tell(
            "AssignTask",
            task_id=request.task_id,
            image=request.docker_image,
            command=request.command,
            cpu=request.req_cpu,
            user=request.user_id,
            submitted_at=request.submitted_at,
            unknown=unknown(request),
        )
        with self.lock:
            if request.task_id in self.known:
                return pb.TaskAck(success=False, message="task exists")
            task = Running(request)
            self.known[request.task_id] = task
            self.running[request.task_id] = task
        threading.Thread(target=self.work, args=(task,)).start()
        return pb.TaskAck(success=True, message="Task accepted")

    def CancelTask(self, request, context):
        tell("CancelTask", task_id=request.task_id, unknown=unknown(request))
        with self.lock:
            task = self.running.get(request.task_id)
        if task is None:
            return pb.TaskAck(success=False, message="task not found")
        task.stop()
        return pb.TaskAck(success=True, message="stopping")

    def StreamTaskLogs(self, request, context):
        self.streams += 1
        tell(
            "StreamTaskLogs",
            task_id=request.task_id,
            follow=request.follow,
            unknown=unknown(request),
        )
        if self.options.logs == "result":
            context.abort(grpc.StatusCode.UNAVAILABLE, "no logs just now")
        task = self.known.get(request.task_id)
        if task is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "task not found")
        if self.options.logs == "cut" and self.streams == 1:
            yield pb.LogChunk(task_id=request.task_id, is_complete=True, status="pending")
            return
        sent = 0
        while True:
            with task.changed:
                while len(task.pieces) == sent and task.ended is None:
                    task.changed.wait()
                pieces, ended = task.pieces[sent:], task.ended
            for text, at in pieces:
                yield pb.LogChunk(task_id=request.task_id, content=text, timestamp=at)
                sent += 1
                if self.options.logs == "cut" and self.streams == 2:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the line broke")
                if self.options.logs == "cut-always":
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the line broke")
            if ended is not None and len(task.pieces) == sent:
                break
        yield pb.LogChunk(task_id=request.task_id, is_complete=True, status=task.ended)

    # What it calls at its master.

    def register(self, address):
        channel = grpc.insecure_channel(address)
        info = pb.WorkerInfo(
            worker_id=self.options.id,
            worker_ip=self.options.listen,
            total_cpu=self.options.cpu,
            total_memory=8,
            total_storage=20,
        )
        master = rpc.MasterWorkerStub(channel)
        while True:
            try:
                ack = master.RegisterWorker(info, timeout=5)
                break
            except grpc.RpcError as error:
                tell("refused", code=error.code().name, message=error.details())
                time.sleep(1)
        tell("registered", success=ack.success, message=ack.message, unknown=unknown(ack))
        self.master, self.registered_at = master, address

    def beat(self):
        while True:
            if self.registered_at:
                with self.lock:
                    tasks = [
                        pb.RunningTask(
                            task_id=name,
                            cpu_allocated=task.task.req_cpu,
                            memory_allocated=task.task.req_memory,
                            status="running",
                        )
                        for name, task in self.running.items()
                    ]
                message = pb.Heartbeat(
                    worker_id=self.options.id, cpu_usage=12.5, memory_usage=512, running_tasks=tasks
                )
                try:
                    ack = self.master.SendHeartbeat(message, timeout=5)
                    tell("beat", success=ack.success, unknown=unknown(ack))
                except grpc.RpcError as error:
                    tell("beat failed", code=error.code().name)
            time.sleep(self.options.beat)

    def work(self, task):
        task.follow()
        name = task.task.task_id
        with self.lock:
            self.running.pop(name, None)
        files = task.files()
        send = lambda: self.until_answered("uploaded", lambda: self.upload(task, files))
        upload = self.options.upload if files else "none"
        if upload == "at-once":
            threading.Thread(target=send).start()
        elif upload in ["before", "climbing"]:
            send()
        result = pb.TaskResult(
            task_id=name,
            worker_id=self.options.id,
            status=task.ended,
            logs="" if self.options.logs in ["stream", "cut"] else task.text(),
            result_location=task.folder,
            output_files=[] if upload == "climbing" else files,
        )
        timeout = self.options.report_timeout
        self.until_answered(
            "reported", lambda: self.master.ReportTaskCompletion(result, timeout=timeout)
        )
        if upload == "after":
            send()

    def upload(self, task, files):
        def chunks():
            for path in files:
                with open(os.path.join(task.folder, path), "rb") as file:
                    data = file.read()
                pieces = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]
                for number, piece in enumerate(pieces):
                    last = number == len(pieces) - 1
                    if self.options.slow_upload:
                        time.sleep(self.options.slow_upload / len(pieces))
                    yield pb.FileChunk(
                        task_id=task.task.task_id,
                        user_id=task.task.user_id,
                        task_name=task.task.task_name,
                        file_path="../" + path if self.options.upload == "climbing" else path,
                        data=piece,
                        is_last_chunk=last,
                        is_last_file=last and path == files[-1],
                        timestamp=int(time.time()),
                    )

        return self.master.UploadTaskFiles(chunks(), timeout=120)

    def until_answered(self, what, call):
        while True:
            try:
                ack = call()
                tell(what, success=ack.success, message=ack.message, unknown=unknown(ack))
                return
            except grpc.RpcError as error:
                tell(what + " not yet", code=error.code().name, message=error.details())
                if error.code() in FOR_GOOD:
                    return
                time.sleep(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--id", required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--master", help="registers there by itself; else when a master calls")
    parser.add_argument("--cpu", type=float, default=2)
    parser.add_argument("--beat", type=float, default=5)
    parser.add_argument("--slow-upload", type=float, default=0, help="seconds for each file")
    parser.add_argument("--report-timeout", type=float, default=30)
    parser.add_argument(
        "--upload",
        choices=["before", "at-once", "after", "climbing"],
        default="before",
        help="when, beside the result; climbing: to paths with .., and the result names none",
    )
    parser.add_argument(
        "--logs",
        choices=["both", "stream", "result", "cut", "cut-always"],
        default="both",
        help="where they are told; cut: the first stream ends with nothing, the second "
        "breaks after its first line, and the result has none; cut-always: no stream gets further, and the result has it",
    )
    worker = Worker(parser.parse_args())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    rpc.add_MasterWorkerServicer_to_server(worker, server)
    server.add_insecure_port(worker.options.listen)
    server.start()
    tell("serving")
    if worker.options.master:
        threading.Thread(target=worker.register, args=(worker.options.master,), daemon=True).start()
    worker.beat()


if __name__ == "__main__":
    main()
