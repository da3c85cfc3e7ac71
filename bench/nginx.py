"""Debian's nginx as a peer: RTMP to HLS with libnginx-mod-rtmp, and static files with sendfile.

One worker process each, because the server under test is one process. Lives from `start_nginx` until its Process stops.
"""

from __future__ import annotations

import os
from pathlib import Path

from bench.processes import Process, free_port, missing, wait_for_port

_RTMP_MODULES = [Path("/usr/lib/nginx/modules/ngx_rtmp_module.so"), Path("/usr/share/nginx/modules/ngx_rtmp_module.so")]

_TOP = """\
{module}worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}events {{ worker_connections 4096; }}
"""

_RTMP = """\
rtmp {{
    server {{
        listen 127.0.0.1:{port};
        chunk_size 4096;
        application live {{
            live on;
            hls on;
            hls_path {folder}/hls;
            hls_fragment 2s;
            hls_playlist_length 20s;
        }}
    }}
}}
"""

_STATIC = """\
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    types {{ video/iso.segment m4s; application/vnd.apple.mpegurl m3u8; }}
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {root};
        location = /v.m3u8 {{ add_header Content-Encoding gzip; add_header Cache-Control no-cache; }}
        location / {{ add_header Cache-Control "public, max-age=31536000, immutable"; }}
    }}
}}
"""


def rtmp_module() -> Path | None:
    """The module's file; None, with a line that says what to install, when there is none."""
    if missing("nginx", "nginx-light libnginx-mod-rtmp", "nginx-rtmp"):
        return None
    found = next((module for module in _RTMP_MODULES if module.is_file()), None)
    if found is None:
        missing("libnginx-mod-rtmp", "libnginx-mod-rtmp", "nginx-rtmp")
    return found


def start_rtmp(folder: Path, module: Path) -> tuple[Process, int]:
    """(process, port). Playlists appear as FOLDER/hls/NAME.m3u8."""
    (folder / "hls").mkdir(parents=True)
    return _start(folder, _RTMP, module=f"load_module {module};\n")


def start_static(folder: Path, root: Path, cpu: int | None) -> tuple[Process, int]:
    folder.mkdir(parents=True)
    return _start(folder, _STATIC, root=root, cpu=cpu)


def _start(
    folder: Path, body: str, *, module: str = "", root: Path | None = None, cpu: int | None = None
) -> tuple[Process, int]:
    port = free_port()
    user = "user root;\n" if os.geteuid() == 0 else ""  # else its worker cannot enter our private folder
    config = folder / "nginx.conf"
    config.write_text((_TOP + body).format(folder=folder, port=port, root=root, module=module, user=user))
    process = Process(["nginx", "-c", config, "-e", folder / "start.log"], log=folder / "nginx.log", cpu=cpu)
    wait_for_port(port, process)
    return process, port
