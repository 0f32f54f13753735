"""Spack that stays resident: started with `spack python resident.py`, it reads configuration, environment, recipes and
database once and forks for every command. Requests and answers are JSON, one object a line, on stdin and stdout.

    -> {"id": 1, "command": "install", "args": ["/abc"], "log": "/path", "append": false}
    <- {"event": "started", "id": 1, "pid": 42}
    <- {"event": "ended", "id": 1, "code": 0, "signal": null, "cpu": 1.5, "memory": 104857600}
    -> {"id": 1, "do": "processes"}         <- {"event": "processes", "id": 1, "text": "..."}
    -> {"id": 1, "do": "end"}               interrupts it, and kills what is left ten seconds later
    -> {"do": "stop"}, or the end of stdin  kills every process that was started here

The first line that it writes is {"event": "ready", "protocol": 1, "version": ..., "prefix": ..., "commands": [...]}.
Only `spack.main.SpackCommand` is needed of Spack; whatever else is imported is an optional speed-up. It runs with Python
3.6 and later, as Spack does.
"""

import ctypes
import gc
import json
import os
import select
import signal
import sys
import time
import traceback

PROTOCOL = 1
COMMANDS = ("install", "test", "gpg")
GRACE = 10.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option, value):
    """Linux only; elsewhere orphans of a build go to the system, as they always do."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def load():
    """Reads once what every command would read again. @returns the commands by name"""
    import spack
    import spack.main

    commands = {name: spack.main.SpackCommand(name) for name in COMMANDS}
    for step in (load_modules, load_recipes):
        try:
            step()
        except Exception:
            # Each command reads for itself what is missing, and says so if it cannot.
            pass
    keep_output_direct()
    return commands


def load_modules():
    import importlib
    import pkgutil

    import spack.binary_distribution  # noqa: F401
    import spack.build_environment  # noqa: F401
    import spack.cmd.gpg  # noqa: F401
    import spack.cmd.install  # noqa: F401
    import spack.cmd.test  # noqa: F401
    import spack.hooks
    import spack.installer  # noqa: F401

    for module in pkgutil.iter_modules(spack.hooks.__path__):
        importlib.import_module("spack.hooks." + module.name)


def load_recipes():
    import spack.environment
    import spack.repo
    import spack.store

    environment = spack.environment.active_environment()
    spack.repo.PATH.is_virtual("mpi")
    spack.store.STORE.db.query_local()
    for spec in environment.all_specs() if environment else ():
        spec.package
        spec.prefix


def find_gpg():
    """Whoever is given keys checks signatures: Spack looks for gpg in every process, unless it was found before."""
    try:
        import spack.util.gpg

        spack.util.gpg.init()
    except Exception:
        pass


def keep_output_direct():
    """SpackCommand copies what its command prints into memory; here it goes to the log's descriptor alone."""
    import contextlib

    import spack.main

    @contextlib.contextmanager
    def direct(*args, **kwargs):
        yield None

    if hasattr(spack.main, "log_output"):
        spack.main.log_output = direct


def spack_version():
    import spack

    return getattr(spack, "spack_version", None) or str(spack.version)


def spack_prefix():
    import spack.paths

    return str(spack.paths.prefix)


def run(command, args):
    """Runs one command as Spack's own main function does. @returns its exit code"""
    try:
        command(*args)
        return 0
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        if type(error).__name__ == "SpackCommandError":
            return command.returncode or 1
        try:
            if hasattr(error, "die"):
                error.die()
            else:
                traceback.print_exc()
        except SystemExit:
            pass
        return 1


def in_child(command, request, closed):
    """What a forked process does. It never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor in closed:
            os.close(descriptor)
        # Always at the end: the caller may write a line of its own.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (0 if request.get("append") else os.O_TRUNC)
        log = os.open(request.get("log") or os.devnull, flags, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        for descriptor in (nothing, log):
            if descriptor > 2:
                os.close(descriptor)
        for stream in (sys.stdout, sys.stderr):
            # Each line is in the log when it is printed: whoever reads it sees the phase that goes on.
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(line_buffering=True)
        if request["command"] == "test":
            speak()
        code = run(command, request.get("args", []))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def speak():
    """Has stand-alone tests print what they do."""
    try:
        import spack.llnl.util.tty as tty
    except ImportError:
        import llnl.util.tty as tty
    tty.set_verbose(True)


def processes():
    """(parent, process group, command line) of every process, by its id."""
    found = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if not name.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % name, "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
            with open("/proc/%s/cmdline" % name, "rb") as file:
                line = file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            found[int(name)] = (int(fields[1]), int(fields[2]), fields[0].decode(), line)
        except (OSError, IndexError, ValueError):
            continue
    return found


def below(pid, group, table):
    """The ids of a process, its group and all that they started, parents first."""
    known = [one for one in table if one == pid or (group and table[one][1] == pid)]
    for one in known:
        known.extend(each for each in table if table[each][0] == one and each not in known)
    return known


def tree(pid):
    """The processes of a command as text, one a line, children indented."""
    table = processes()
    depth = {}
    lines = []
    for one in below(pid, True, table):
        parent, _, state, line = table[one]
        depth[one] = depth.get(parent, -1) + 1
        lines.append("%s%d %s %s" % ("  " * depth[one], one, state, line))
    return "\n".join(lines)


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass


def kill_command(pid):
    kill(below(pid, True, processes()))
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass


def kill_all():
    """Kills every process that was started here, also those that were given to this one when their parents ended."""
    me = os.getpid()
    for _ in range(100):
        left = [one for one in below(me, False, processes()) if one != me]
        if not left:
            return
        kill(left)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except OSError:
            pass
        time.sleep(0.01)


class Server:
    def __init__(self, commands, answers):
        self.commands = commands
        self.answers = answers
        # Request id by process id.
        self.running = {}
        # When to kill what was interrupted.
        self.ending = {}
        self.wake, self.wakeup = os.pipe()
        for descriptor in (self.wake, self.wakeup):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self.wakeup)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def say(self, **answer):
        data = (json.dumps(answer) + "\n").encode("utf-8")
        while data:
            data = data[os.write(self.answers, data) :]

    def start(self, request):
        sys.stdout.flush()
        sys.stderr.flush()
        command = self.commands[request["command"]]
        if request["command"] == "gpg":
            find_gpg()
        pid = os.fork()
        if pid == 0:
            in_child(command, request, (self.answers, self.wake, self.wakeup))
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass
        self.running[pid] = request["id"]
        self.say(event="started", id=request["id"], pid=pid)

    def handle(self, request):
        """@returns whether to go on"""
        action = request.get("do", "run")
        if action == "stop":
            return False
        if action == "run":
            if request.get("command") in self.commands:
                self.start(request)
            else:
                self.say(event="refused", id=request.get("id"), reason="no such command")
            return True
        for pid, one in self.running.items():
            if one != request.get("id"):
                continue
            if action == "processes":
                self.say(event="processes", id=one, text=tree(pid))
            elif action == "end" and pid not in self.ending:
                self.ending[pid] = time.time() + GRACE
                try:
                    os.killpg(pid, signal.SIGINT)
                except OSError:
                    pass
        return True

    def reap(self):
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except OSError:
                return
            if pid == 0:
                return
            one = self.running.pop(pid, None)
            if one is None:
                continue
            self.ending.pop(pid, None)
            kill_command(pid)
            killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
            self.say(
                event="ended",
                id=one,
                code=None if killed else os.WEXITSTATUS(status),
                signal=killed,
                cpu=usage.ru_utime + usage.ru_stime,
                memory=usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            )

    def serve(self):
        rest = b""
        while True:
            now = time.time()
            for pid in [one for one, at in self.ending.items() if at <= now]:
                kill_command(pid)
                self.ending[pid] = now + 1
            wait = max(0.0, min(self.ending.values()) - now) if self.ending else None
            ready, _, _ = select.select([0, self.wake], [], [], wait)
            if self.wake in ready:
                try:
                    os.read(self.wake, 4096)
                except OSError:
                    pass
            self.reap()
            if 0 not in ready:
                continue
            data = os.read(0, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip() and not self.handle(json.loads(line.decode("utf-8"))):
                    return


def main():
    # What Spack prints by itself must not stand between the answers.
    answers = os.dup(1)
    os.dup2(2, 1)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    # What is read here stays: there is nothing to collect in it, neither now nor in what is forked.
    gc.disable()
    server = Server(load(), answers)
    if hasattr(gc, "freeze"):
        gc.freeze()
    gc.enable()
    server.say(
        event="ready",
        protocol=PROTOCOL,
        version=spack_version(),
        prefix=spack_prefix(),
        commands=list(COMMANDS),
    )
    try:
        server.serve()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kill_all()


if __name__ == "__main__":
    main()
