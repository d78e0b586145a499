/* The reference device as a process on a pseudo-terminal or a TCP port, in real time.
 *
 * It prints the path or address that a host opens, takes faults as lines on its standard input, and
 * writes what reached the load as `estim simulate --trace` does (times on the monotonic clock).
 *
 * Rules:
 * 1. Everything due before bytes arrived happens before they are acted on, at its own scheduled
 *    time, even when this process wakes late.
 * 2. Its own lateness is told on standard error, so that nobody blames the host for it. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define US_PER_S 1000000U
#define NS_PER_US 1000U
#define LATE_US 20000U
#define LINGER_US (2U * US_PER_S)
#define READ_SIZE 4096U
#define LINE_SIZE 256U
#define SERIAL_MAX 16U
#define PORT_MAX 65535U
#define USAGE_ERROR 2

struct process {
    struct bench bench;
    FILE *trace;
    uint64_t boot_us; /* on the monotonic clock, where the device's own begins */
    uint64_t closed_us;
    uint64_t told_late_us;
    size_t line_size;
    size_t unsent_size;
    uint32_t load_ohm;
    int port;     /* the terminal's master, or whoever is connected; -1 for nobody */
    int slave;    /* the terminal's other end */
    int listener; /* -1 where there is a terminal */
    unsigned tcp_port;
    bool is_tcp;
    bool is_hung;
    bool ends_when_closed;
    bool is_stdin_open;
    bool is_closing;
    char line[LINE_SIZE];
    char serial_number[SERIAL_MAX + 1U];
    uint8_t unsent[EST_FRAME_OUT_MAX];
    size_t unsent_at;
};

static volatile sig_atomic_t is_ended = 0;

static void on_signal(int number)
{
    (void)number;
    is_ended = 1;
}

static uint64_t monotonic_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec * US_PER_S) + ((uint64_t)now.tv_nsec / NS_PER_US);
}

static void usage(const char *said)
{
    (void)fprintf(stderr, "estim-device: %s\n", said);
    (void)fprintf(stderr, "usage: estim-device [--channels N] [--load OHM|open] [--serial TEXT] "
                          "[--patient-stop yes|no] [--trace FILE] [--tcp PORT] "
                          "[--until-closed]\n");
    exit(USAGE_ERROR);
}

static unsigned whole(const char *text, unsigned lowest, unsigned highest, const char *said)
{
    char *end = NULL;
    const unsigned long number = strtoul(text, &end, 10);

    if ((text[0] < '0') || (text[0] > '9') || (*end != '\0') || (number < lowest) ||
        (number > highest)) {
        usage(said);
    }
    return (unsigned)number;
}

static void write_pulse(void *context, const struct est_pulse *delivered)
{
    const struct process *process = context;
    uint64_t at_us = process->boot_us + delivered->onset_us;
    uint8_t phase;

    for (phase = 0U; phase < delivered->phase_count; phase++) {
        const struct est_phase *each = &delivered->phases[phase];
        if (each->current_ua != 0) {
            (void)fprintf(process->trace, "%" PRIu64 ",%u,%" PRId32 ",%u\n", at_us,
                          delivered->channel + 1U, each->current_ua, each->duration_us);
        }
        at_us += each->duration_us;
    }
}

static void open_trace(struct process *process, const char *path)
{
    process->trace = fopen(path, "w");
    if (process->trace == NULL) {
        (void)fprintf(stderr, "estim-device: trace %s: cannot be written: %s\n", path,
                      strerror(errno));
        exit(USAGE_ERROR);
    }
    (void)fputs("t_us,channel,current_ua,duration_us\n", process->trace);
    (void)fflush(process->trace);
    process->bench.sink = write_pulse;
    process->bench.sink_context = process;
}

static void read_options(struct process *process, int count, char **words)
{
    static const struct option known[] = {
        {"channels", required_argument, NULL, 'c'},   {"load", required_argument, NULL, 'l'},
        {"serial", required_argument, NULL, 's'},     {"patient-stop", required_argument, NULL, 'p'},
        {"trace", required_argument, NULL, 't'},      {"until-closed", no_argument, NULL, 'u'},
        {"seed", required_argument, NULL, 'i'},       {"tcp", required_argument, NULL, 'n'},
        {NULL, 0, NULL, 0},
    };
    unsigned channel_count = 2U;
    bool has_stop = true;
    int option;

    process->load_ohm = 500U;
    (void)strcpy(process->serial_number, "REF-0001");
    while ((option = getopt_long(count, words, "", known, NULL)) != -1) {
        switch (option) {
        case 'c':
            channel_count = whole(optarg, 1U, EST_CHANNELS, "--channels: expected 1 to 4");
            break;
        case 'l':
            process->load_ohm = (strcmp(optarg, "open") == 0)
                                    ? 0U
                                    : whole(optarg, 1U, BENCH_OHM_MAX,
                                            "--load: expected 1 to 1000000 ohm, or open");
            break;
        case 's':
            if ((strlen(optarg) < 1U) || (strlen(optarg) > SERIAL_MAX)) {
                usage("--serial: expected 1 to 16 characters");
            }
            (void)strcpy(process->serial_number, optarg);
            break;
        case 'p':
            if ((strcmp(optarg, "yes") != 0) && (strcmp(optarg, "no") != 0)) {
                usage("--patient-stop: expected yes or no");
            }
            has_stop = strcmp(optarg, "yes") == 0;
            break;
        case 't':
            open_trace(process, optarg);
            break;
        case 'u':
            process->ends_when_closed = true;
            break;
        case 'n':
            process->is_tcp = true;
            process->tcp_port = whole(optarg, 0U, PORT_MAX, "--tcp: expected 0 to 65535");
            break;
        case 'i': /* nothing here is random */
            break;
        default:
            usage("an option is not known");
        }
    }
    if (optind < count) {
        usage("nothing but options is expected");
    }
    process->bench.settings =
        bench_settings((uint8_t)channel_count, process->serial_number, has_stop);
}

static void open_terminal(struct process *process)
{
    struct termios raw;

    process->port = posix_openpt(O_RDWR | O_NOCTTY);
    if ((process->port < 0) || (grantpt(process->port) != 0) || (unlockpt(process->port) != 0)) {
        perror("estim-device: pseudo-terminal");
        exit(EXIT_FAILURE);
    }
    /* Held open, so that the master does not report a hang-up between two clients. */
    process->slave = open(ptsname(process->port), O_RDWR | O_NOCTTY);
    if ((process->slave < 0) || (tcgetattr(process->slave, &raw) != 0)) {
        perror("estim-device: pseudo-terminal");
        exit(EXIT_FAILURE);
    }
    raw.c_iflag = 0;
    raw.c_oflag = 0;
    raw.c_lflag = 0;
    raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    raw.c_cflag |= (tcflag_t)CS8;
    (void)tcsetattr(process->slave, TCSANOW, &raw);
    (void)fcntl(process->port, F_SETFL, O_NONBLOCK);
    (void)printf("%s\n", ptsname(process->port));
}

/* On the loopback address alone. */
static void open_listener(struct process *process)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    const int yes = 1;

    (void)memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)process->tcp_port);
    process->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)setsockopt(process->listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if ((bind(process->listener, (struct sockaddr *)&address, size) != 0) ||
        (listen(process->listener, 1) != 0) ||
        (getsockname(process->listener, (struct sockaddr *)&address, &size) != 0)) {
        (void)fprintf(stderr, "estim-device: port %u: %s\n", process->tcp_port, strerror(errno));
        exit(USAGE_ERROR);
    }
    (void)printf("socket://127.0.0.1:%u\n", (unsigned)ntohs(address.sin_port));
}

/* Let whoever is connected go: the next one may come, and hears nothing of before. */
static void hang_up(struct process *process)
{
    (void)close(process->port);
    process->port = -1;
    process->unsent_at = 0U;
    process->unsent_size = 0U;
}

static void take_bytes(struct process *process)
{
    uint8_t received[READ_SIZE];
    ssize_t size;

    if (process->port < 0) {
        const int yes = 1;
        process->port = accept4(process->listener, NULL, NULL, SOCK_NONBLOCK);
        (void)setsockopt(process->port, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        return;
    }
    size = read(process->port, received, sizeof received);
    if (size > 0) {
        if (!process->is_hung) {
            est_device_receive(&process->bench.device, received, (uint16_t)size,
                               monotonic_us() - process->boot_us);
        }
    } else if (process->is_tcp && ((size == 0) || (errno != EAGAIN))) {
        hang_up(process);
    } else {
        /* Nothing came. */
    }
}

static void send_frames(struct process *process)
{
    for (;;) {
        ssize_t written;
        if (process->unsent_at == process->unsent_size) {
            process->unsent_at = 0U;
            process->unsent_size = est_device_take_frame(&process->bench.device, process->unsent);
            if (process->unsent_size == 0U) {
                return;
            }
        }
        if (process->port < 0) {
            process->unsent_at = process->unsent_size; /* nobody listens */
            continue;
        }
        written = write(process->port, &process->unsent[process->unsent_at],
                        process->unsent_size - process->unsent_at);
        if (written <= 0) {
            return;
        }
        process->unsent_at += (size_t)written;
    }
}

static bool is_of_the_line(const char *line)
{
    static const char *const words[] = {"drop ", "delay ", "corrupt ", "duplicate ", "silent "};
    size_t at;
    bool is_one = false;

    for (at = 0U; at < (sizeof words / sizeof words[0]); at++) {
        is_one = is_one || (strncmp(line, words[at], strlen(words[at])) == 0);
    }
    return is_one;
}

static void obey_line(struct process *process, const char *line, est_us now_us)
{
    struct bench *bench = &process->bench;

    if (strcmp(line, "reboot") == 0) {
        if (!process->is_hung) {
            est_device_advance(&bench->device, now_us);
        }
        process->boot_us += now_us;
        process->is_hung = false;
        bench_reboot(bench);
    } else if (process->is_hung) {
        (void)fprintf(stderr, "estim-device: it hangs, until a reboot: %s\n", line);
    } else if (strcmp(line, "hang") == 0) {
        est_device_advance(&bench->device, now_us);
        process->is_hung = true;
    } else if (is_of_the_line(line)) {
        (void)fprintf(stderr, "estim-device: faults of the line are the simulator's alone: %s\n",
                      line);
    } else if ((line[0] != '\0') && (!bench_happen(bench, line, now_us))) {
        (void)fprintf(stderr, "estim-device: not understood: %s\n", line);
    } else {
        /* It has happened. */
    }
}

static void read_lines(struct process *process)
{
    char byte = '\0';
    ssize_t size;

    /* One byte a turn would be slow only for what nobody writes: whole scripts at once. */
    size = read(STDIN_FILENO, &byte, 1U);
    if (size <= 0) {
        process->is_stdin_open = false;
    } else if (byte == '\n') {
        process->line[process->line_size] = '\0';
        process->line_size = 0U;
        obey_line(process, process->line, monotonic_us() - process->boot_us);
    } else if (process->line_size < (LINE_SIZE - 1U)) {
        process->line[process->line_size] = byte;
        process->line_size++;
    } else {
        /* Too long to make sense. */
    }
}

static void tell_lateness(struct process *process, est_us due_us, est_us now_us)
{
    if ((due_us < now_us) && ((now_us - due_us) > LATE_US) &&
        ((now_us - process->told_late_us) >= US_PER_S)) {
        process->told_late_us = now_us;
        (void)fprintf(stderr, "estim-device: woke %" PRIu64 " ms late, its own doing\n",
                      (now_us - due_us) / 1000U);
    }
}

static void end_when_closed(struct process *process, uint64_t now_us)
{
    const uint8_t state = process->bench.device.state;

    if ((!process->ends_when_closed) || process->is_stdin_open) {
        return;
    }
    if ((!process->is_hung) &&
        ((state == EST_DEVICE_STATE_ARMED) || (state == EST_DEVICE_STATE_RUNNING))) {
        process->is_closing = false;
    } else if (!process->is_closing) {
        process->is_closing = true;
        process->closed_us = now_us;
    } else if (now_us >= (process->closed_us + LINGER_US)) {
        is_ended = 1;
    } else {
        /* It lingers. */
    }
}

static void turn(struct process *process)
{
    struct est_device *device = &process->bench.device;
    est_us now_us = monotonic_us() - process->boot_us;
    /* Hung, nothing is ever due: no pulse is played, and nothing is said. */
    const est_us due_us =
        process->is_hung ? (now_us + US_PER_S) : est_device_next_deadline_us(device);
    est_us wait_us = US_PER_S;
    struct timespec timeout;
    struct pollfd watched[2];

    if (due_us <= now_us) {
        wait_us = 0U;
    } else if ((due_us - now_us) < wait_us) {
        wait_us = due_us - now_us;
    } else {
        /* Often enough to see that standard input was closed long ago. */
    }
    watched[0].fd = (process->port < 0) ? process->listener : process->port;
    watched[0].events = POLLIN;
    if (process->unsent_at < process->unsent_size) {
        watched[0].events |= POLLOUT;
    }
    watched[1].fd = process->is_stdin_open ? STDIN_FILENO : -1;
    watched[1].events = POLLIN;
    timeout.tv_sec = (time_t)(wait_us / US_PER_S);
    timeout.tv_nsec = (long)((wait_us % US_PER_S) * NS_PER_US);
    watched[0].revents = 0;
    watched[1].revents = 0;
    (void)ppoll(watched, 2U, &timeout, NULL);
    now_us = monotonic_us() - process->boot_us;
    tell_lateness(process, due_us, now_us);
    if (!process->is_hung) {
        est_device_advance(device, now_us);
    }
    if (watched[1].revents != 0) {
        read_lines(process);
    }
    take_bytes(process);
    if (!process->is_hung) {
        send_frames(process);
    }
    now_us = monotonic_us() - process->boot_us;
    if (process->trace != NULL) {
        (void)fflush(process->trace);
    }
    end_when_closed(process, now_us + process->boot_us);
}

int main(int count, char **words)
{
    static struct process process;
    const struct sched_param first = {.sched_priority = 1};
    struct sigaction action;

    read_options(&process, count, words);
    (void)memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGHUP, &action, NULL);
    (void)signal(SIGPIPE, SIG_IGN); /* whoever was connected may have gone */
    /* A device of its own would not wait for this computer either; where it is not granted, nothing
     * changes. */
    (void)sched_setscheduler(0, SCHED_RR, &first);
    process.port = -1;
    process.listener = -1;
    if (process.is_tcp) {
        open_listener(&process);
    } else {
        open_terminal(&process);
    }
    process.is_stdin_open = true;
    process.bench.battery_percent = 100U;
    process.boot_us = monotonic_us();
    bench_boot(&process.bench, process.load_ohm, false);
    (void)fflush(stdout);
    while (is_ended == 0) {
        turn(&process);
    }
    if (!process.is_hung) {
        est_device_advance(&process.bench.device, monotonic_us() - process.boot_us);
    }
    if (process.trace != NULL) {
        (void)fclose(process.trace);
    }
    return EXIT_SUCCESS;
}
