"""A stand-in for nvidia-cuda-mps-control, for machines without a GPU: `-d` starts a daemon that listens on the socket
`control` in $CUDA_MPS_PIPE_DIRECTORY; without arguments, a command is read from standard input and passed to it.

Beside this file: `calls.jsonl`, how it was called; `behaviour`, a word for what it does wrong, if it is there."""

import json
import os
import socket
import sys

home = os.path.dirname(os.path.abspath(__file__))
pipes = os.environ["CUDA_MPS_PIPE_DIRECTORY"]
control = os.path.join(pipes, "control")


def behaviour() -> str:
    try:
        with open(os.path.join(home, "behaviour")) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def note(command: str) -> None:
    known = ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY", "CUDA_VISIBLE_DEVICES", "CUDA_MPS_PROTOCOL_VERSION")
    call = {"command": command, "environment": {name: os.environ[name] for name in known if name in os.environ}}
    with open(os.path.join(home, "calls.jsonl"), "a") as file:
        file.write(json.dumps(call) + "\n")


def serve() -> None:
    if os.path.exists(control):
        os.unlink(control)
    kind = socket.SOCK_SEQPACKET if behaviour() == "packets" else socket.SOCK_STREAM
    listener = socket.socket(socket.AF_UNIX, kind)
    listener.bind(control)
    listener.listen(8)
    with open(os.path.join(pipes, "nvidia-cuda-mps-control.pid"), "w") as file:
        file.write(str(os.getpid()))
    servers, listed = "", 0
    while True:
        connection, _ = listener.accept()
        with connection:
            command = connection.recv(1000).decode()
            if command.startswith("start_server") and behaviour() != "no server":
                servers = "4242\n"
            elif command == "get_server_list":
                listed += bool(servers)
                gone = behaviour() == "dying server" and listed > 2
                connection.sendall(b"" if gone else servers.encode())
            elif command == "quit" and behaviour() != "deaf":
                os.unlink(control)
                return


def main() -> None:
    if sys.argv[1:] == ["-d"]:
        note("-d")
        if behaviour() == "no start":
            print("something first\nCannot start: no device", file=sys.stderr)
            sys.exit(1)
        if os.fork() == 0:
            os.setsid()
            serve()
            os._exit(0)
        return
    command = sys.stdin.read().strip()
    note(command)
    kind = socket.SOCK_SEQPACKET if behaviour() == "packets" else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX, kind) as client:
        client.connect(control)
        client.sendall(command.encode())
        sys.stdout.write(client.recv(1000).decode())


main()
