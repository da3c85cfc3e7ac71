/* wsfloor PORT: the least a WebSocket fan-out can cost: one write() a connection, no checks. Not a product.
 *
 * Every text frame that comes is written to every connection. It expects whole client frames in one read, as wsload
 * sends them. Ends after ten minutes. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 20000, BUFFER = 16384 };

static int room[MOST], upgraded[MOST], members;
static const char welcome[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void leave(int fd) {
    for (int i = 0; i < members; i++)
        if (room[i] == fd) { room[i] = room[--members]; break; }
    upgraded[fd] = 0;
    close(fd);
}

static void fan_out(const unsigned char *frame, int head, int length) {
    unsigned char out[BUFFER];
    const unsigned char *key = frame + head, *payload = frame + head + 4;
    int at = 0;
    out[at++] = 0x81;
    if (length < 126) {
        out[at++] = length;
    } else {
        out[at++] = 126;
        out[at++] = length >> 8;
        out[at++] = length & 255;
    }
    for (int i = 0; i < length; i++) out[at + i] = payload[i] ^ key[i & 3];
    for (int i = 0; i < members; i++)
        if (write(room[i], out, at + length) < 0 && errno != EAGAIN) continue;
}

static void on_readable(int fd) {
    unsigned char data[BUFFER];
    int got = recv(fd, data, sizeof data - 16, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) leave(fd);
        return;
    }
    if (!upgraded[fd]) {
        if (write(fd, welcome, sizeof welcome - 1) < 0) { leave(fd); return; }
        upgraded[fd] = 1;
        room[members++] = fd;
        return;
    }
    for (int at = 0; got - at >= 6;) {
        int length = data[at + 1] & 127, head = 2;
        if (length == 126) {
            length = data[at + 2] << 8 | data[at + 3];
            head = 4;
        }
        if (got - at < head + 4 + length) break;
        if ((data[at] & 15) == 1) fan_out(data + at, head, length);
        at += head + 4 + length;
    }
}

int main(int argc, char **argv) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, epoll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (argc != 2) return 2;
    address.sin_port = htons(atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) { perror("wsfloor"); return 1; }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[512];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    alarm(600);
    for (;;) {
        int n = epoll_wait(epoll, events, 512, 1000);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) { on_readable(fd); continue; }
            int joined = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (joined < 0) continue;
            if (joined >= MOST) { close(joined); continue; }
            setsockopt(joined, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            event.data.fd = joined;
            epoll_ctl(epoll, EPOLL_CTL_ADD, joined, &event);
        }
    }
}
