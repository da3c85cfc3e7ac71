/* wsload: many WebSocket connections to one room, some of which publish in turn; one epoll loop, one thread.
 *
 *   wsload -p PORT -u PATH -n CONNECTIONS -k PUBLISHERS -t SECONDS [-r RATE,RATE,…] [-s BYTES]
 *          [-a TEXT | -A FILE] [-j TEXT -w WORD] [-f FORMAT] [-b WARM-UP] [-i IDLE] [-d]
 *
 * -r messages a second, one load after another; 0: the next message goes out when every connection has the last one
 *    (closed loop)
 * -s bytes of a message's text   -a what publishers send first   -j what every connection sends after that
 * -w a connection is ready when a frame with this word came      -f the text goes where %s is
 * -d offer permessage-deflate. Compressed frames are not unpacked: each is taken for a delivery of the newest message
 *
 * A delivery is a text frame with the mark "t=<ns>;" that is no acknowledgement. Prints a line `connected`, a line `idle` once it
 * has been so, and for each load a line `begin` when the measured time starts and one line of JSON at its end. Ends by itself, at the latest
 * after the time asked for and two minutes. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { UPGRADING, JOINING, READY, BUFFER = 32768, BINS = 500000, BIN_NS = 10000, PENDING = 64,
       LOADS = 8 };

struct connection {
    int fd, state, length;
    unsigned char buffer[BUFFER];
};

static struct connection *connections;
/* No two messages are alike, as with people: what compresses well in a loop says nothing. */
static const char *words[] = {
    "the", "stream", "just", "went", "live", "who", "is", "this", "playing", "again", "love", "that", "song", "from",
    "Berlin", "hello", "everybody", "good", "evening", "what", "a", "goal", "incredible", "camera", "sound", "too",
    "quiet", "lag", "here", "fine", "now", "please", "zoom", "in", "on", "left", "side", "thanks", "mods", "first",
    "time", "watching", "never", "seen", "such", "weather", "tomorrow", "then", "maybe", "question", "which", "lens",
};
enum { WORDS = sizeof words / sizeof *words };
static int count = 1000, publishers = 1, ready, port, size = 200, waiting;
static int loads = 1, deflate;
static double seconds = 4, rates[LOADS], warm = 1, idle = 0.5;
static char **firsts;
static size_t first_count;
static const char *path = "/ws", *authenticate, *join, *ready_word, *format = "%s";
static uint32_t bins[BINS];
static uint64_t deliveries, delivered_ever, received_bytes, since_last, longest, errors, compressed, last_sent;

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "wsload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_all(int fd, const void *data, int length) {
    const char *at = data;
    while (length > 0) {
        ssize_t written = write(fd, at, length);
        if (written < 0) {
            if (errno != EAGAIN) fail("write");
            usleep(100);
            continue;
        }
        at += written;
        length -= written;
    }
}

/* A client's frame must be masked; a key of zeros is a key (RFC 6455, 5.3). */
static void send_frame(int fd, int opcode, const void *payload, int length) {
    unsigned char frame[BUFFER + 16] = {0x80 | opcode};
    int head = 2;
    if (length > BUFFER) { errno = EMSGSIZE; fail("frame"); }
    if (length < 126) {
        frame[1] = 0x80 | length;
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = length >> 8;
        frame[3] = length & 255;
        head = 4;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, payload, length);
    write_all(fd, frame, head + 4 + length);
}

static void become_ready(struct connection *c) {
    c->state = READY;
    ready++;
    waiting--;
}

static int holds(const unsigned char *payload, size_t length, const char *word) {
    return memmem(payload, length, word, strlen(word)) != NULL;
}

static void deliver(uint64_t sent) {
    uint64_t at = now(), delay = at > sent ? at - sent : 0, bin = delay / BIN_NS;
    bins[bin < BINS ? bin : BINS - 1]++;
    if (delay > longest) longest = delay;
    deliveries++;
    delivered_ever++;
    since_last++;
}

static void on_frame(struct connection *c, int opcode, int packed, unsigned char *payload, size_t length) {
    if (opcode == 9) {
        send_frame(c->fd, 10, payload, (int)length);
        return;
    }
    if (opcode == 8) {
        fprintf(stderr, "wsload: the server closed a connection with code %d\n",
                length >= 2 ? payload[0] << 8 | payload[1] : 0);
        exit(1);
    }
    if (opcode != 1) return;
    if (packed && c->state == READY) {
        compressed++;
        deliver(last_sent);
        return;
    }
    if (c->state == JOINING) {
        if (holds(payload, length, ready_word)) become_ready(c);
        return;
    }
    if (holds(payload, length < 40 ? length : 40, "\"error\"")) {
        if (!errors++) fprintf(stderr, "wsload: %.*s\n", (int)length, payload);
        return;
    }
    unsigned char *mark = memmem(payload, length, "t=", 2);
    if (!mark || holds(payload, length < 40 ? length : 40, "\"ack\"")) return;
    deliver(strtoull((char *)mark + 2, NULL, 10));
}

static void on_upgraded(struct connection *c) {
    const char *first = first_count ? firsts[(c - connections) % first_count]
                        : c - connections < publishers ? authenticate : NULL;
    if (first) send_frame(c->fd, 1, first, strlen(first));
    if (join) {
        c->state = JOINING;
        send_frame(c->fd, 1, join, strlen(join));
    } else {
        become_ready(c);
    }
}

static void on_readable(struct connection *c) {
    ssize_t got = recv(c->fd, c->buffer + c->length, BUFFER - c->length, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) { fprintf(stderr, "wsload: the server dropped a connection\n"); exit(1); }
    received_bytes += got;
    c->length += got;
    unsigned char *at = c->buffer, *end = c->buffer + c->length;
    if (c->state == UPGRADING) {
        unsigned char *body = memmem(at, end - at, "\r\n\r\n", 4);
        if (!body) return;
        if (memcmp(at, "HTTP/1.1 101", 12)) { fprintf(stderr, "wsload: refused: %.200s\n", at); exit(1); }
        at = body + 4;
        on_upgraded(c);
    }
    while (end - at >= 2) {
        size_t length = at[1] & 127;
        int head = 2;
        if (length == 126) {
            if (end - at < 4) break;
            length = at[2] << 8 | at[3];
            head = 4;
        } else if (length == 127) {
            errno = EMSGSIZE;
            fail("frame of 64 kB and more");
        }
        if ((size_t)(end - at) < head + length) {
            if (head + length > BUFFER) { errno = EMSGSIZE; fail("frame"); }
            break;
        }
        on_frame(c, at[0] & 15, at[0] & 0x40, at + head, length);
        at += head + length;
    }
    c->length = end - at;
    if (c->length) memmove(c->buffer, at, c->length);
}

static void pump(int epoll, int milliseconds) {
    static struct epoll_event events[1024];
    int n = epoll_wait(epoll, events, 1024, milliseconds);
    for (int i = 0; i < n; i++) on_readable(&connections[events[i].data.u32]);
}

static void dial(int epoll, uint32_t index) {
    struct connection *c = &connections[index];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    char request[1024];
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address)) fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", path, port,
                          deflate ? "Sec-WebSocket-Extensions: permessage-deflate\r\n" : "");
    write_all(c->fd, request, length);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
    waiting++;
}

static void publish(uint64_t number) {
    char text[4096], message[8192];
    const char *slot = strstr(format, "%s");
    last_sent = now();
    int length = snprintf(text, sizeof text, "t=%llu;", (unsigned long long)last_sent);
    while (length < size) {
        for (const char *letter = words[rand() % WORDS]; *letter && length < size; letter++) text[length++] = *letter;
        if (length < size - 1) text[length++] = ' ';
    }
    int total = snprintf(message, sizeof message, "%.*s%.*s%s", (int)(slot - format), format, length, text, slot + 2);
    send_frame(connections[number % publishers].fd, 1, message, total);
}

static double percentile(double share) {
    uint64_t all = 0, sum = 0;
    for (int i = 0; i < BINS; i++) all += bins[i];
    for (int i = 0; i < BINS; i++)
        if ((sum += bins[i]) >= share * all && sum) return (i + 0.5) * BIN_NS / 1e6;
    return -1;
}

static double own_cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void read_firsts(const char *name) {
    FILE *file = fopen(name, "r");
    if (!file) fail(name);
    char *line = NULL;
    size_t room = 0;
    for (ssize_t length; (length = getline(&line, &room, file)) > 0;) {
        if (line[length - 1] == '\n') line[--length] = 0;
        firsts = realloc(firsts, (first_count + 1) * sizeof *firsts);
        firsts[first_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

static void read_rates(char *text) {
    loads = 0;
    for (char *part = strtok(text, ","); part && loads < LOADS; part = strtok(NULL, ",")) rates[loads++] = atof(part);
}

/* What is on its way arrives before the next load begins; a server that has fallen behind gets some seconds for it. */
static void drain(int epoll, uint64_t sent) {
    for (uint64_t until = now() + 5000000000ull; delivered_ever < sent * (uint64_t)count && now() < until;)
        pump(epoll, 20);
}

static uint64_t run(int epoll, double rate, uint64_t sent) {
    uint64_t start = now() + (uint64_t)(warm * 1e9), end = start + (uint64_t)(seconds * 1e9);
    uint64_t begun_at = 0, stalls = 0, next = now(), last = now();
    double cpu = 0;
    since_last = count;
    for (uint64_t t; (t = now()) < end;) {
        if (!begun_at && t >= start) {
            memset(bins, 0, sizeof bins);
            deliveries = received_bytes = longest = stalls = compressed = 0;
            cpu = own_cpu();
            begun_at = t;
            printf("begin\n");
            fflush(stdout);
        }
        int all_have_it = since_last >= (uint64_t)count, stalled = !rate && t - last > 2000000000ull;
        stalls += stalled;
        if (rate ? t >= next : all_have_it || stalled) {
            since_last = 0;
            publish(sent++);
            last = t;
            if (rate) next += (uint64_t)(1e9 / rate);
        }
        int64_t left = rate ? ((int64_t)next - (int64_t)now()) / 1000000 : 20;
        pump(epoll, left < 1 ? 1 : left > 20 ? 20 : (int)left);
    }
    double elapsed = (now() - begun_at) / 1e9;
    printf("{\"seconds\":%.3f,\"deliveries\":%llu,\"p50\":%.2f,\"p99\":%.2f,\"longest\":%.2f,\"bytes\":%llu,"
           "\"cores\":%.3f,\"errors\":%llu,\"stalls\":%llu,\"compressed\":%llu}\n",
           elapsed, (unsigned long long)deliveries, percentile(.5), percentile(.99), longest / 1e6,
           (unsigned long long)received_bytes, (own_cpu() - cpu) / elapsed, (unsigned long long)errors,
           (unsigned long long)stalls, (unsigned long long)compressed);
    fflush(stdout);
    return sent;
}

int main(int argc, char **argv) {
    for (int option; (option = getopt(argc, argv, "p:u:n:k:t:r:s:a:A:j:w:f:b:i:d")) != -1;) switch (option) {
        case 'p': port = atoi(optarg); break;
        case 'u': path = optarg; break;
        case 'n': count = atoi(optarg); break;
        case 'k': publishers = atoi(optarg); break;
        case 't': seconds = atof(optarg); break;
        case 'r': read_rates(optarg); break;
        case 's': size = atoi(optarg); break;
        case 'a': authenticate = optarg; break;
        case 'A': read_firsts(optarg); break;
        case 'j': join = optarg; break;
        case 'w': ready_word = optarg; break;
        case 'f': format = optarg; break;
        case 'b': warm = atof(optarg); break;
        case 'i': idle = atof(optarg); break;
        case 'd': deflate = 1; break;
        default: return 2;
    }
    if (count < 1 || publishers < 1 || publishers > count || size < 24 || size > 4000 || seconds > 120 || idle > 60 || loads < 1 ||
        !strstr(format, "%s") || (join && !ready_word)) {
        fprintf(stderr, "wsload: these arguments do not go together\n");
        return 2;
    }
    alarm((unsigned)(loads * (seconds + warm + 5) + idle) + 120);
    int epoll = epoll_create1(0);
    connections = calloc(count, sizeof *connections);
    uint64_t started = now(), sent = 0;
    for (int i = 0; i < count; i++) {
        dial(epoll, i);
        while (waiting >= PENDING) pump(epoll, 20);
    }
    while (ready < count) pump(epoll, 50);
    printf("connected {\"seconds\":%.3f}\n", (now() - started) / 1e9);
    fflush(stdout);
    for (uint64_t until = now() + (uint64_t)(idle * 1e9); now() < until;) pump(epoll, 20);
    printf("idle\n");
    fflush(stdout);
    for (int load = 0; load < loads; load++) {
        sent = run(epoll, rates[load], sent);
        drain(epoll, sent);
    }
    return 0;
}
