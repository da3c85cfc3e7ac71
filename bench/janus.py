"""Janus as a peer: its videoroom, with the settings that Debian ships it with and one port for its clients."""

from __future__ import annotations

from pathlib import Path

from bench.processes import Process, free_port, missing, say, wait_for_port

_CONFIG = """general: {{
    configs_folder = "{folder}"
    plugins_folder = "{installed}/plugins"
    transports_folder = "{installed}/transports"
    debug_level = 3
    event_loops = {loops}
}}
certificates: {{}}
media: {{}}
nat: {{ full_trickle = false }}
plugins: {{ disable = "{plugins}" }}
transports: {{ disable = "{transports}" }}
"""
_WEBSOCKETS = """general: {{ ws = true ws_port = {port} ws_ip = "127.0.0.1" wss = false }}
admin: {{ admin_ws = false }}
"""
_ROOMS, _SOCKETS = "libjanus_videoroom.so", "libjanus_websockets.so"


def installed() -> Path | None:
    """Where its plugins are; None, and says what to install, when there is none."""
    if missing("janus", "janus", "Janus"):
        return None
    found = next(Path("/usr/lib").glob(f"*/janus/plugins/{_ROOMS}"), None)
    if found is None or not (found.parent.parent / "transports" / _SOCKETS).is_file():
        say("Janus has no videoroom or no WebSockets here: going on without it.")
        return None
    return found.parent.parent


def start(folder: Path, where: Path, cpu: int | None, loops: int = 0) -> tuple[Process, int]:
    """(process, port of its WebSocket). loops: threads that serve all its peers; 0: one for each, as by default."""
    folder.mkdir(parents=True)
    port = free_port()
    config = folder / "janus.jcfg"
    config.write_text(
        _CONFIG.format(
            folder=folder,
            installed=where,
            loops=loops,
            plugins=_others(where / "plugins", _ROOMS),
            transports=_others(where / "transports", _SOCKETS),
        )
    )
    (folder / "janus.transport.websockets.jcfg").write_text(_WEBSOCKETS.format(port=port))
    (folder / "janus.plugin.videoroom.jcfg").write_text("general: {}\n")
    process = Process(["janus", "-F", folder, "-C", config, "-o"], log=folder / "janus.log", cpu=cpu)
    wait_for_port(port, process)
    return process, port


def _others(folder: Path, needed: str) -> str:
    return ",".join(sorted(file.name for file in folder.glob("*.so") if file.name != needed))
