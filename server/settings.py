"""Every setting: its name in the environment, unit, default and what it turns on.

The environment wins over `.env`; a value that cannot be is an error that names the setting and what it takes.
`.env.example` is checked against this file by a test.
"""

from __future__ import annotations

import math
import os
import types
import typing
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit


class SettingError(Exception):
    """A setting has a value it cannot have. The text is for the operator."""


def _setting(default: object, doc: str) -> typing.Any:
    return field(default=default, metadata={"doc": doc})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    # where it listens
    http_host: str = _setting("0.0.0.0", "address the HTTP server listens on")
    http_port: int = _setting(8080, "port of HTTP and WebSocket; 0: any free one")
    http_max_connections: int = _setting(
        45_000, "HTTP connections at once, players and WebSockets with them; fewer when the system grants fewer files"
    )
    http_write_timeout: float = _setting(30.0, "an HTTP client that takes nothing of its answer this long is closed, s")
    http_header_timeout: float = _setting(
        20.0,
        "a client whose request's head is not complete this long after it connected or began it is closed, s",
    )
    rtmp_host: str = _setting("0.0.0.0", "address the RTMP server listens on")
    rtmp_port: int = _setting(1935, "port of RTMP; 0: any free one")
    rtmps_port: int = _setting(1936, "port of RTMP over TLS, opened when TLS_CERT and TLS_KEY are set")
    tls_cert: str = _setting("", "file with the certificate chain (PEM) for RTMPS")
    tls_key: str = _setting("", "file with the private key (PEM) for RTMPS")
    public_url: str = _setting("", "what people type, as https://live.example.org; empty: made from the host and port")
    trusted_proxies: str = _setting("", "addresses or networks, comma-separated, whose X-Forwarded-For is believed")
    cors_origins: str = _setting(
        "", "origins, comma-separated, that may call the API from a browser; media is open to all"
    )
    hsts_seconds: int = _setting(
        31_536_000, "browsers keep to https this long, sent when PUBLIC_URL is https://…; 0: not sent, s"
    )
    idempotency_hours: float = _setting(24.0, "how long the answer to an Idempotency-Key is kept, hours")
    idempotency_wait_seconds: float = _setting(
        5.0, "a second request with the same Idempotency-Key waits this long for the first, then 409, s"
    )
    step_up_seconds: float = _setting(
        900.0, "sensitive routes ask for the password or another factor again after this, s"
    )

    # where things are kept
    data_dir: str = _setting("var", "folder for the embedded database, the object folder and the spool")
    database_url: str = _setting("", "postgresql://…; empty: an embedded PostgreSQL under DATA_DIR")
    database_pool: int = _setting(32, "most connections to PostgreSQL from one process")
    secret_key: str = _setting(
        "", "what signs and seals is derived from this; empty: a secret made at the first start, in the database"
    )
    redis_url: str = _setting("", "redis://…: bus and presence of a fleet; empty: inside the process")
    s3_endpoint: str = _setting("", "http(s)://… of the S3 server; empty: a folder under DATA_DIR")
    s3_bucket: str = _setting("social-flow", "bucket for media")
    s3_region: str = _setting("us-east-1", "region for signing")
    s3_access_key: str = _setting("", "access key id")
    s3_secret_key: str = _setting("", "secret access key")

    # accounts
    registration: str = _setting("open", "open | closed: who may register")
    access_token_seconds: int = _setting(900, "lifetime of an access token, s")
    refresh_token_days: int = _setting(30, "lifetime of a refresh token, days")
    signing_key_days: int = _setting(30, "a new key signs access tokens after this; 0: only by command, days")
    password_min_length: int = _setting(10, "shortest password, characters")
    verify_email_hours: float = _setting(48.0, "how long the link that verifies an address is good, hours")
    reset_password_minutes: float = _setting(30.0, "how long the link that sets a new password is good, minutes")
    account_mails_per_hour: int = _setting(
        5, "mails that anybody can have sent to one address without signing in, in an hour"
    )
    wrong_passwords: int = _setting(5, "wrong passwords for one account from one place before the wait begins")
    wrong_passwords_account: int = _setting(50, "the same from all places where the account never signed in, together")
    wrong_passwords_address: int = _setting(100, "the same from one address, for all accounts together")
    wrong_password_wait: float = _setting(10.0, "first wait after too many; each further doubles it, s")
    wrong_password_wait_most: float = _setting(900.0, "longest wait, s")
    argon2_concurrency: int = _setting(2, "password hashes computed at once")
    passkey_rp_id: str = _setting(
        "", "domain that passkeys belong to, PUBLIC_URL's or one above it; empty: the host of PUBLIC_URL"
    )
    passkey_origins: str = _setting(
        "",
        "further origins, comma-separated, whose pages and apps use our passkeys: https://… android:apk-key-hash:…",
    )

    api_keys_per_account: int = _setting(50, "API keys that one account may have")
    audit_retention_days: int = _setting(
        400, "lines of the audit log are deleted after this, at least 30; 0: never, days"
    )

    # mail
    smtp_host: str = _setting("", "the server that mail is handed to; empty: mail is written to the log, links and all")
    smtp_port: int = _setting(587, "its port: 587 with starttls, 465 with tls, 25 with none")
    smtp_tls: str = _setting(
        "starttls", "none | starttls | tls: how the way there is encrypted; starttls insists on it"
    )
    smtp_username: str = _setting("", "name to sign in with; empty: none is needed")
    smtp_password: str = _setting("", "its password")
    smtp_ca: str = _setting("", "file (PEM) of the authorities that vouch for SMTP_HOST; empty: the system's")
    mail_from: str = _setting("", "sender, as Name <address>; empty: no-reply at the host of PUBLIC_URL")
    mail_timeout: float = _setting(30.0, "longest wait for each answer of SMTP_HOST, s")
    mail_attempts: int = _setting(20, "how often a mail is tried: after 5 s, then twice as long, at most 10 min apart")

    # limits: a tier that is left out keeps its default; one rate without a tier is for all; off: no limit
    rate_limit_read: str = _setting(
        "anonymous=12000/minute, free=1200/minute, basic=2400/minute, pro=6000/minute, enterprise=30000/minute",
        "requests that read, by tier of the account; anonymous: by address, which many people may share",
    )
    rate_limit_write: str = _setting(
        "anonymous=3000/minute, free=300/minute, basic=600/minute, pro=1500/minute, enterprise=6000/minute",
        "requests that change something, in the same form",
    )
    rate_limit_auth: str = _setting(
        "anonymous=60/minute, free=20/minute, basic=20/minute, pro=20/minute, enterprise=20/minute",
        "log-ins, registrations, codes and what else tries a secret or sends a mail, in the same form",
    )
    rate_limit_refresh: str = _setting("120/minute", "renewals and ends of sessions, in the same form")
    rate_limit_upload: str = _setting(
        "anonymous=30/minute, free=30/minute, basic=60/minute, pro=120/minute, enterprise=600/minute",
        "requests that bring a file, in the same form",
    )
    max_body: int = _setting(1024 * 1024, "largest body of an API request, bytes")
    max_body_auth: int = _setting(64 * 1024, "the same for log-ins, registrations and the like, bytes")
    max_body_upload: int = _setting(10 * 1024 * 1024, "the same for files, bytes")
    body_timeout: float = _setting(30.0, "the whole body of an API request has to arrive within this, s")
    body_timeout_auth: float = _setting(10.0, "the same for log-ins, registrations and the like, s")
    body_timeout_upload: float = _setting(120.0, "the same for files, s")

    # signing in with an account elsewhere; the provider is told PUBLIC_URL/api/v1/auth/oauth/KEY/callback
    google_client_id: str = _setting("", "client id; turns on signing in with Google (key: google)")
    google_client_secret: str = _setting("", "its secret")
    facebook_client_id: str = _setting("", "app id; turns on signing in with Facebook (key: facebook)")
    facebook_client_secret: str = _setting("", "its secret")
    twitter_client_id: str = _setting("", "client id; turns on signing in with X (key: twitter)")
    twitter_client_secret: str = _setting("", "its secret")
    github_client_id: str = _setting("", "client id; turns on signing in with GitHub (key: github)")
    github_client_secret: str = _setting("", "its secret")
    oidc_issuer: str = _setting("", "https://…: turns on signing in with this OpenID provider (key: oidc)")
    oidc_client_id: str = _setting("", "client id there")
    oidc_client_secret: str = _setting("", "its secret; empty: a public client")
    oidc_name: str = _setting("", "what people read on its button")
    oidc_providers: str = _setting(
        "",
        'more of them: [{"key": "work", "issuer": "https://…", "client_id": "…", "client_secret": "…", "name": "…"}]',
    )
    oauth_app_redirects: str = _setting(
        "", "addresses of apps, comma-separated, that a sign-in may return to, as org.example.app:/signin"
    )

    # requests to addresses that others chose
    outgoing_ports: str = _setting("80,443", "ports, comma-separated, that may be called")
    outgoing_allowed: str = _setting(
        "", "networks (10.1.0.0/16) and addresses (10.1.2.3:8443), comma-separated, called though they are not public"
    )

    # profiles, leaving
    username_change_days: int = _setting(30, "after changing the username one waits this long to change it again, days")
    username_reserved_days: int = _setting(
        90, "a name that was given up, or belonged to a deleted account, is nobody else's this long, days"
    )
    avatar_max_bytes: int = _setting(8 * 1024 * 1024, "largest file for an avatar, bytes")
    export_hours: int = _setting(72, "the archive of one's data can be fetched this long, hours")
    deletion_grace_days: int = _setting(
        14, "a deleted account is erased after this, until then its owner may take it back; 0: at once, days"
    )

    # ingest
    reconnect_window: float = _setting(60.0, "how long a broadcast waits for its publisher to come back, s")
    publisher_dead_after: float = _setting(2.0, "a second publisher waits this long for a sign of life of the first, s")
    rtmp_handshake_timeout: float = _setting(10.0, "time a client has from connecting to publishing, s")
    rtmp_idle_timeout: float = _setting(30.0, "a publisher that sends nothing this long is closed, s")
    rtmp_max_message: int = _setting(8 * 1024 * 1024, "largest RTMP message, bytes")
    rtmp_max_buffered: int = _setting(16 * 1024 * 1024, "unfinished messages of one connection together, bytes")
    rtmp_connections_per_address: int = _setting(64, "RTMP connections from one address at once, for each process")
    rtmp_max_connections: int = _setting(2000, "RTMP connections at once")
    rtmp_read_coalesce_ms: int = _setting(
        10, "after a read the socket rests this long, so that frames come in batches, ms"
    )
    ingest_max_bitrate: float = _setting(
        60.0, "a publisher that sends more than this for some seconds is closed; 0: no limit, Mbit/s"
    )
    ingest_max_ahead: float = _setting(
        30.0, "a publisher whose media runs further ahead of the clock than this is closed; 0: no limit, s"
    )

    # WebRTC
    rtc_host: str = _setting("", "address the UDP port of WebRTC listens on, no name; empty: all, IPv4 and IPv6")
    rtc_port: int = _setting(8189, "UDP port of WebRTC, one for all sessions; 0: any free one")
    public_ip: str = _setting(
        "",
        "addresses, comma-separated, that browsers are told for WebRTC, where a router or a container stands before "
        "the server; empty: those of the machine",
    )
    rtc_max_peers: int = _setting(2000, "WebRTC sessions at once, publishers and viewers together")
    rtc_socket_buffer: int = _setting(
        8 * 1024 * 1024, "buffer asked for each way of the UDP port; the system may grant less, bytes"
    )
    rtc_connect_timeout: float = _setting(30.0, "a WebRTC session that is not connected after this is closed, s")
    rtc_consent_timeout: float = _setting(
        30.0, "a WebRTC session whose other side gives no proven sign of life this long is closed, s"
    )
    rtc_max_handshakes: int = _setting(200, "DTLS handshakes under way at once; further ones wait")
    rtc_bad_per_address: int = _setting(
        50, "STUN messages in a second that one address may get wrong before no more are read"
    )
    rtc_errors_per_second: int = _setting(500, "wrong STUN messages that are answered in a second, of all addresses")
    rtc_paths_per_peer: int = _setting(16, "addresses that one WebRTC session may be heard from")
    rtc_sources_per_peer: int = _setting(64, "RTP sources (SSRC) that one WebRTC session may send")
    rtc_max_sdp: int = _setting(64 * 1024, "longest session description (SDP) that is read, bytes")
    whip_most: int = _setting(500, "publishers by WebRTC (WHIP) at once")
    whip_per_address: int = _setting(20, "publishers by WebRTC from one address at once, for each process")
    whip_idle_timeout: float = _setting(30.0, "a publisher by WebRTC that sends no media this long is closed, s")
    whip_wait: float = _setting(0.5, "a packet that is missing of a publisher by WebRTC is waited for this long, s")
    whip_start_bitrate: float = _setting(
        2.0, "a browser that goes live begins with so much picture; 0: as it thinks, often too little; Mbit/s"
    )
    ice_servers: str = _setting(
        "",
        "STUN and TURN servers, comma-separated, that browsers are told for WebRTC: stun:HOST:PORT, "
        "turn:HOST:PORT?transport=udp, turns:HOST:PORT",
    )
    turn_username: str = _setting("", "name that browsers give at the TURN servers; needs TURN_PASSWORD")
    turn_password: str = _setting("", "password for TURN_USERNAME: everybody who goes live or watches can see it")
    turn_secret: str = _setting(
        "",
        "instead of them: the secret of coturn's use-auth-secret, from which each session gets a password of its own",
    )
    turn_seconds: int = _setting(43_200, "how long such a password is good, s")
    whep_most: int = _setting(1500, "viewers by WebRTC (WHEP) at once")
    whep_per_broadcast: int = _setting(1000, "viewers by WebRTC of one broadcast at once, for each process")
    whep_per_address: int = _setting(50, "viewers by WebRTC from one address at once, for each process")
    whep_burst_mbit: float = _setting(
        30.0, "what a viewer by WebRTC is sent at once when he comes is spread over time at this rate, Mbit/s"
    )
    whep_memory: int = _setting(
        1024 * 1024, "what was sent to a viewer by WebRTC is kept to be sent again up to this, bytes"
    )

    # packaging
    segment_seconds: float = _setting(2.0, "a segment is cut at the first key frame after this, s")
    target_duration: int = _setting(4, "EXT-X-TARGETDURATION: a longer group of pictures is cut without a key frame, s")
    part_seconds: float = _setting(0.2, "low-latency parts are about this long, s")
    dvr_seconds: int = _setting(1800, "how far back a live viewer can seek, s")
    live_edge_segments: int = _setting(3, "closed segments of a broadcast kept in memory")
    segment_cache_bytes: int = _setting(
        64 * 1024 * 1024, "older segments kept in memory for all broadcasts together, bytes"
    )
    record: bool = _setting(True, "keep broadcasts as recordings")
    retention_days: int = _setting(0, "recordings are deleted after this; 0: never, days")
    disk_min_free: int = _setting(1024 * 1024 * 1024, "with less free disk no new recording starts, bytes")
    spool_max_bytes: int = _setting(8 * 1024 * 1024 * 1024, "segments waiting for a store that is down, bytes")
    live_aac: bool = _setting(
        True, "offer AAC beside Opus, made while a player asks for it, to players that cannot play Opus"
    )
    sound_children: int = _setting(
        8, "broadcasts whose sound is made in another codec (AAC, Opus) at once, each by a child process; 0: none"
    )
    live_ladder: str = _setting(
        "auto",
        "smaller pictures of a broadcast, encoded while a viewer asks for them: off, auto (as many as the cores carry) "
        "or heights of 1080,720,480,360,240",
    )
    ladder_children: int = _setting(
        0, "broadcasts whose picture is encoded in smaller sizes at once, each by a child process; 0: one for two cores"
    )
    restream_targets: int = _setting(5, "RTMP servers elsewhere that the broadcasts of one account are pushed on to")
    restream_ports: str = _setting(
        "1935,443", "ports, comma-separated, that may be pushed to; OUTGOING_ALLOWED adds addresses that are not public"
    )
    restream_queue_bytes: int = _setting(
        4 << 20, "what waits for a slow target; beyond it frames are left out up to the next key frame, bytes"
    )
    restream_timeout: float = _setting(
        10.0, "a target is left that is not connected, does not let us publish or takes nothing this long, s"
    )
    restream_pause: float = _setting(60.0, "the pauses between attempts to reach a target grow to this, s")
    thumbnail_seconds: float = _setting(10.0, "age at which the picture of a live broadcast is renewed, s")

    # who may watch
    grant_seconds: float = _setting(
        600.0, "an address of what is neither public nor unlisted is good this long, s; players renew it"
    )
    grant_skew_seconds: float = _setting(2.0, "the clocks of a fleet's machines are no further apart than this, s")
    video_outdated_seconds: float = _setting(
        21_600.0, "the segments of a file that was replaced stay this long, for those who are watching it, s"
    )
    video_cache_bytes: int = _setting(64 << 20, "memory for files of videos that are being watched, bytes")
    video_protected_bytes: int = _setting(32 << 20, "memory for those of them that are encrypted, bytes")

    # clips
    clip_longest: float = _setting(180.0, "a clip of a broadcast or a video lasts this long at most, s")
    clips_per_hour: int = _setting(60, "clips that one person may make in an hour")
    clip_wait: float = _setting(20.0, "a clip waits so long for its last moment to be recorded and stored, s")
    clip_children: int = _setting(1, "clips and trims whose edges are made at once, for each process")

    # views of videos
    view_seconds: float = _setting(10.0, "a view of a video counts after this much was delivered and played, s")
    view_window: float = _setting(86_400.0, "a viewer counts once in this time, s")
    view_per_address: int = _setting(50, "views of one video that one address can make in that time")
    view_write_seconds: float = _setting(5.0, "what was watched is written down this often, s")

    # video on demand
    video_quota_bytes: str = _setting(
        "free=10000000000, basic=50000000000, pro=500000000000, enterprise=5000000000000",
        "uploaded videos of an account together, bytes, by tier; one number without a tier is for all",
    )
    video_quota_count: str = _setting(
        "free=500, basic=2000, pro=10000, enterprise=100000", "videos of an account, in the same form"
    )
    video_longest: str = _setting(
        "free=14400, basic=28800, pro=43200, enterprise=43200", "longest video, s, in the same form"
    )
    upload_max_bytes: int = _setting(20_000_000_000, "largest file of a video, bytes")
    upload_hours: float = _setting(24.0, "an upload that nothing is added to is removed after this, hours")
    uploads_unfinished: int = _setting(100, "uploads that an account may have begun and not ended")
    uploads_per_account: int = _setting(10, "uploads that an account may bring at once, for each process")
    uploads_at_once: int = _setting(200, "uploads that this process takes at once")
    upload_least_rate: float = _setting(4096.0, "an upload that comes slower than this is cut off, bytes/s")
    upload_window: float = _setting(
        30.0, "over so long that is counted; an upload that sends nothing this long is cut off too, s"
    )
    upload_checkpoint: float = _setting(2.0, "what has come of an upload is recorded so often, s")
    video_captions: int = _setting(40, "languages that a video may have captions in")
    vod_children: int = _setting(
        1, "pieces of videos that this process works on at once; 0: none, other processes have to (bin/worker)"
    )
    vod_niceness: int = _setting(10, "how far the work on videos stands back behind live, 0 to 19")
    vod_memory: int = _setting(4 << 30, "memory of one child that works on a video, bytes")
    vod_probe_seconds: float = _setting(120.0, "looking through an uploaded file may take this long, s")
    vod_work_seconds: float = _setting(3600.0, "one piece of work on a video may take this long, s")
    vod_scratch_bytes: int = _setting(
        50_000_000_000, "uploaded files kept under DATA_DIR while they are worked on, for each process, bytes"
    )
    video_encoder: str = _setting(
        "software",
        "software | auto | nvenc | qsv | amf | videotoolbox | v4l2m2m: what encodes videos; an encoder in hardware is "
        "tried at the start, and software does what it cannot",
    )
    vod_codec: str = _setting("h264", "h264 | hevc | av1: what videos are encoded in")
    vod_highest: str = _setting("", "highest rung made of a video, as 1080p; empty: as high as the file")
    vod_preset: str = _setting("veryfast", "preset of the encoder, as x264 names them: the slower, the smaller")
    vod_quality: int = _setting(23, "constant rate factor of the encoder: the lower, the better and larger")
    vod_segment_seconds: float = _setting(4.0, "segments of videos are about this long, s")
    vod_chunk_seconds: float = _setting(60.0, "so much of a video is one piece of work, s")
    vod_pass_through: bool = _setting(True, "an uploaded track that fits is carried as it is, not encoded anew")
    job_heartbeat: float = _setting(30.0, "a job whose process gave no sign of life this long is another's, s")

    # viewers, chat
    viewer_seconds: float = _setting(15.0, "a viewer counts this long after its last sign of life, s")
    chat_max_length: int = _setting(500, "longest chat message, characters")
    chat_burst: int = _setting(5, "chat messages an author may send at once")
    chat_interval: float = _setting(1.0, "then one message each, s")
    chat_reaction_burst: int = _setting(20, "reactions in chat that a person may give or take back at once")
    chat_reaction_interval: float = _setting(0.5, "then one reaction each, s")
    chat_reactions: int = _setting(20, "different reactions to one chat message")
    chat_edit_seconds: float = _setting(900.0, "how long an author may edit a chat message; 0: not at all, s")
    chat_mentions: int = _setting(10, "people that one chat message may mention")
    chat_pins: int = _setting(3, "pinned messages of a chat")
    chat_moderators: int = _setting(100, "moderators that an owner may name for his chats")
    chat_bans: int = _setting(10_000, "bans and time-outs that may hold at once in the chats of one owner")
    chat_filters: int = _setting(200, "word filters for the chats of one owner")
    chat_emotes: int = _setting(100, "emotes for the chats of one owner")
    chat_slow_most: int = _setting(3600, "longest slow mode of a chat, s")
    chat_delay_most: int = _setting(30, "longest delay after which others see a chat message, s")
    chat_timeout_days: int = _setting(14, "longest time-out in a chat, days")
    chat_unique_seconds: float = _setting(600.0, "how far back the unique mode of a chat looks, s")
    chat_clear_most: int = _setting(100, "latest messages of a person that may be deleted with a ban")
    chat_state_messages: int = _setting(50, "latest messages in the state of a chat")
    chat_state_seconds: float = _setting(1.0, "how long what crowds ask of a chat is answered from memory, s")
    presence_seconds: float = _setting(2.0, "viewers are counted, and who came and went is told, so often, s")
    presence_most: int = _setting(
        200, "people in one channel that are told by name; of more a sample is, and how many they are"
    )
    presence_sample: int = _setting(20, "how many people that sample has")
    presence_leave_seconds: float = _setting(6.0, "who was missing in a channel so long is told to have left, s")
    typing_seconds: float = _setting(6.0, "who does not say again that he is typing is shown so long, s")
    typing_every: float = _setting(1.0, "a person may say so often in one channel that he is typing, s")
    typing_named: int = _setting(3, "how many of those who type are named; of the others the number is told")
    online_most: int = _setting(
        5000, "so many of those whom a person followed last are looked at for who of them is online"
    )
    follows_most: str = _setting(
        "free=2000, basic=5000, pro=5000, enterprise=10000",
        "how many people an account may follow, by tier; one number without a tier is for all",
    )
    socket_max_message: int = _setting(16 * 1024, "largest message from a WebSocket client, bytes")
    socket_buffer: int = _setting(512 * 1024, "bytes that may wait for one slow WebSocket before it is closed")
    socket_subscriptions: int = _setting(100, "channels one WebSocket may hold")
    sockets_per_address: int = _setting(200, "WebSockets from one address at once, for each process")
    max_sockets: int = _setting(20_000, "WebSockets at once")
    socket_ticks: str = _setting(
        "",
        "kind=ms,…: messages of these channels (as live) are gathered so long and sent as one; 0: each at once; kinds "
        "not named: only when they come faster than they can be sent, 50 ms at most",
    )
    socket_compress_above: int = _setting(
        0, "messages to many are compressed (permessage-deflate) from this size on, bytes; 0: no compression"
    )
    media_waiting: int = _setting(20_000, "blocked playlist and part requests at once")

    # operation
    log_format: str = _setting("text", "text | json")
    log_level: str = _setting("info", "debug | info | warning | error")
    metrics_token: str = _setting("", "bearer token that /metrics asks for; empty: loopback and private addresses only")
    sentry_dsn: str = _setting("", "https://key@host/project: failures nobody foresaw are sent there; empty: nowhere")
    sentry_environment: str = _setting("production", "what Sentry calls this installation")
    otel_exporter_otlp_endpoint: str = _setting(
        "", "http(s)://… of an OpenTelemetry collector (OTLP over HTTP): traces are sent there; empty: none are made"
    )
    otel_exporter_otlp_headers: str = _setting("", "headers for the collector, as name=value,name=value")
    otel_service_name: str = _setting("social-flow", "what traces call this server")
    otel_traces_share: float = _setting(1.0, "share of the requests that are traced when no caller has decided, 0 to 1")
    node_id: str = _setting("", "name of this process in a fleet; empty: made at start")
    lease_seconds: float = _setting(
        15.0, "a broadcast whose process gives no sign of life this long is taken over by another of the fleet, s"
    )
    drain_seconds: float = _setting(5.0, "longest a stop waits for what is under way, s")

    @property
    def base_url(self) -> str:
        """The public address without a trailing slash; localhost when nothing better is known."""
        return self.public_url.rstrip("/") or f"http://localhost:{self.http_port}"

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir).resolve()

    @classmethod
    def load(cls, environ: typing.Mapping[str, str] | None = None, env_file: Path | None = Path(".env")) -> Settings:
        """Read the environment over the file. Raises SettingError, which tells everything that is wrong at once."""
        values = dict(_read_env_file(env_file)) if env_file else {}
        values.update(os.environ if environ is None else environ)
        hints = typing.get_type_hints(cls)
        given: dict[str, object] = {}
        wrong: list[str] = []
        for f in fields(cls):
            name = f.name.upper()
            if values.get(name, "") == "":
                continue
            try:
                given[f.name] = _parse(name, hints[f.name], values[name])
            except SettingError as error:
                wrong.append(str(error))
        settings = cls(**typing.cast(typing.Any, given))
        wrong += settings._wrong()
        if wrong:
            raise SettingError(". ".join(wrong))
        return settings

    def _wrong(self) -> typing.Iterator[str]:
        """What cannot be, a sentence each."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                yield f"{name.upper()} is {getattr(self, name)!r}; it takes {' | '.join(allowed)}"
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, float) and not math.isfinite(value):
                yield f"{f.name.upper()} is '{value}'; it takes a number"
            elif isinstance(value, int | float) and value < 0:
                yield f"{f.name.upper()} is {value}; it cannot be negative"
        for name in ("http_port", "rtmp_port", "rtmps_port", "rtc_port", "smtp_port"):
            if getattr(self, name) > 65535:
                yield f"{name.upper()} is {getattr(self, name)}; a port is at most 65535"
        for name, schemes in _SCHEMES.items():
            if (value := getattr(self, name)) and not value.startswith(schemes):
                # the value may hold a password
                yield f"{name.upper()} begins with {' or '.join(schemes)}"
        if 0 < len(self.secret_key) < 32:
            yield "SECRET_KEY has at least 32 characters, made by a generator: openssl rand -base64 32"
        for name in _ABOVE_ZERO:
            if getattr(self, name) == 0:  # below 0 is told above
                yield f"{name.upper()} must be above 0"
        if self.segment_seconds >= self.target_duration + 0.5:
            yield "SEGMENT_SECONDS must be smaller than TARGET_DURATION"
        host = urlsplit(self.base_url).hostname or ""
        if self.passkey_rp_id and not f".{host}".endswith(f".{self.passkey_rp_id}"):
            yield "PASSKEY_RP_ID must be the host of PUBLIC_URL, or a domain above it"
        if bool(self.smtp_username) != bool(self.smtp_password):
            yield "SMTP_USERNAME and SMTP_PASSWORD go together"
        if bool(self.turn_username) != bool(self.turn_password):
            yield "TURN_USERNAME and TURN_PASSWORD go together"
        if self.turn_secret and self.turn_username:
            yield "TURN_SECRET makes the passwords for TURN; leave TURN_USERNAME and TURN_PASSWORD out"
        if 0 < self.audit_retention_days < 30:
            yield "AUDIT_RETENTION_DAYS is at least 30, or 0 to keep the log for ever"
        for name in ("mail_attempts", "mail_timeout"):
            if getattr(self, name) == 0:
                yield f"{name.upper()} must be above 0"
        if bool(self.tls_cert) != bool(self.tls_key):
            yield "TLS_CERT and TLS_KEY go together"


_CHOICES = {
    "registration": ("open", "closed"),
    "smtp_tls": ("none", "starttls", "tls"),
    "log_format": ("text", "json"),
    "log_level": ("debug", "info", "warning", "error"),
}
_ABOVE_ZERO = (
    "lease_seconds",
    "http_write_timeout",
    "http_header_timeout",
    "body_timeout",
    "body_timeout_auth",
    "body_timeout_upload",
    "rtc_connect_timeout",
    "rtc_consent_timeout",
    "rtc_max_handshakes",
    "rtc_paths_per_peer",
    "rtc_socket_buffer",
    "rtc_max_sdp",
    "whep_burst_mbit",
    "whip_idle_timeout",
    "turn_seconds",
    "upload_hours",
    "upload_window",
    "upload_checkpoint",
)
_SCHEMES = {
    "public_url": ("http://", "https://"),
    "database_url": ("postgresql://", "postgres://"),
    "redis_url": ("redis://", "rediss://", "unix://"),
    "s3_endpoint": ("http://", "https://"),
    "sentry_dsn": ("http://", "https://"),
    "otel_exporter_otlp_endpoint": ("http://", "https://"),
}


def _parse(name: str, kind: object, text: str) -> object:
    try:
        if kind is bool:
            return {
                "1": True,
                "true": True,
                "yes": True,
                "on": True,
                "0": False,
                "false": False,
                "no": False,
                "off": False,
            }[text.strip().lower()]
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
    except (ValueError, KeyError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[typing.cast(type, kind)]
        raise SettingError(f"{name} is {text!r}; it takes {wanted}") from None
    assert not isinstance(kind, types.UnionType)
    return text


def _read_env_file(path: Path) -> typing.Iterator[tuple[str, str]]:
    if not path.is_file():
        return
    for number, raw in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        if not equals:
            raise SettingError(f"{path}, line {number}: expected NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        yield name.strip(), value
