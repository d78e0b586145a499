/* Run the AVR image: in lock-step with whoever writes the commands, or on a pseudo-terminal.
 *
 * Commands, one a line on standard input; cycles are counted from the start at 16 MHz:
 *   run CYCLE              go on up to this cycle (lock-step)
 *   receive CYCLE HEX      bytes on the line, the first start bit at this cycle or once it is free
 *   load OHM | load open   what lies between the leads
 *   leak UA                current that nobody commanded
 *   stop 0 | stop 1        the patient's stop
 *   tripped 0 | tripped 1  the stage's own limit
 *   hang 0 | hang 1        the main loop hangs, with interrupts off or on
 *   stall CYCLES           interrupts wait so long
 *   poke AT BYTE           a byte of RAM, or a register, is changed (both in hexadecimal)
 *   peek                   all of RAM
 *   figures                what was measured of the run
 * The end of the input ends it.
 * Answers: `sent CYCLE HEX` for each byte (lock-step), `now CYCLE` after each run, `ram HEX` to peek,
 * `figures ...`.
 */

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "machine.h"

#define LINE_MAX_SIZE 16384U
#define SLICE_NS 1000000L
#define NS_PER_CYCLE_NUM 125ULL /* 62.5 ns */
#define NS_PER_CYCLE_DEN 2ULL
/* More than this behind real time, the device's clock is let run slow instead of hurrying. */
#define BEHIND_CYCLES_MAX 800000ULL

static int terminal = -1;
static FILE *answers;

/* libsimavr prints to standard output: that becomes nowhere, and answers go to what it was. */
static void keep_output(void)
{
    const int nowhere = open("/dev/null", O_WRONLY);

    answers = fdopen(dup(STDOUT_FILENO), "w");
    if ((answers == NULL) || (nowhere < 0) || (dup2(nowhere, STDOUT_FILENO) < 0)) {
        perror("estim-avr-run: standard output");
        exit(EXIT_FAILURE);
    }
}

static void tell_sent(void *context, uint64_t cycle, uint8_t byte)
{
    (void)context;
    if (terminal < 0) {
        (void)fprintf(answers, "sent %llu %02x\n", (unsigned long long)cycle, byte);
    } else {
        /* Nobody reads: the byte is lost, as on a wire. */
        (void)!write(terminal, &byte, 1U);
    }
}

static size_t from_hex(const char *text, uint8_t *bytes, size_t most)
{
    size_t size = 0U;
    unsigned number;

    while ((size < most) && (sscanf(text, "%2x", &number) == 1)) {
        bytes[size] = (uint8_t)number;
        size++;
        text += 2;
    }
    return size;
}

static void tell_figures(void)
{
    const struct machine_figures figures = machine_figures();

    (void)fprintf(answers, "figures longest_feed_cycles=%llu static_size=%u stack_left=%u "
                 "reset_count=%u\n",
                 (unsigned long long)figures.longest_feed_cycles, (unsigned)figures.static_size,
                 (unsigned)figures.stack_left, (unsigned)figures.reset_count);
}

static void tell_ram(void)
{
    uint16_t at;

    (void)fprintf(answers, "ram ");
    for (at = MACHINE_RAM_START; at < (MACHINE_RAM_START + MACHINE_RAM_SIZE); at++) {
        (void)fprintf(answers, "%02x", machine_peek(at));
    }
    (void)fprintf(answers, "\n");
}

/* Obey one line; return false where it is no command, or nothing can go on. */
static bool obey(char *line)
{
    static uint8_t bytes[LINE_MAX_SIZE / 2U];
    unsigned long long cycle = 0U;
    unsigned number = 0U;
    unsigned place = 0U;
    int at = 0;
    bool is_known = true;

    if ((sscanf(line, "run %llu", &cycle) == 1) && (terminal < 0)) {
        is_known = machine_run_until(cycle);
        (void)fprintf(answers, "now %llu\n", (unsigned long long)machine_cycle());
    } else if (sscanf(line, "receive %llu %n", &cycle, &at) == 1) {
        is_known = machine_receive(cycle, bytes, from_hex(&line[at], bytes, sizeof bytes));
    } else if (strcmp(line, "load open") == 0) {
        machine_set_load(UINT32_MAX);
    } else if (sscanf(line, "load %u", &number) == 1) {
        machine_set_load(number);
    } else if (sscanf(line, "leak %u", &number) == 1) {
        machine_set_leak(number);
    } else if (sscanf(line, "stop %u", &number) == 1) {
        machine_set_patient_stop(number != 0U);
    } else if (sscanf(line, "tripped %u", &number) == 1) {
        machine_set_tripped(number != 0U);
    } else if (sscanf(line, "hang %u", &number) == 1) {
        machine_hang(number != 0U);
    } else if (sscanf(line, "stall %u", &number) == 1) {
        machine_stall(number);
    } else if (sscanf(line, "poke %x %x", &place, &number) == 2) {
        machine_poke((uint16_t)place, (uint8_t)number);
    } else if (strcmp(line, "peek") == 0) {
        tell_ram();
    } else if (strcmp(line, "figures") == 0) {
        tell_figures();
    } else {
        is_known = false;
    }
    (void)fflush(answers);
    return is_known;
}

static int run_in_lock_step(void)
{
    static char line[LINE_MAX_SIZE];

    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (!obey(line)) {
            (void)fprintf(stderr, "estim-avr-run: cannot: %s\n", line);
            return EXIT_FAILURE;
        }
    }
    return EXIT_SUCCESS;
}

/* Real time. */

static uint64_t since_ns(const struct timespec *start)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)(now.tv_sec - start->tv_sec) * 1000000000ULL) + (uint64_t)now.tv_nsec -
           (uint64_t)start->tv_nsec;
}

/* Take whole command lines as they come; return false once the input has ended. */
static bool take_commands(void)
{
    static char line[LINE_MAX_SIZE];
    static size_t size;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};

    while (poll(&input, 1U, 0) > 0) {
        const ssize_t count = read(STDIN_FILENO, &line[size], 1U);
        if (count <= 0) {
            return false;
        }
        if (line[size] == '\n') {
            line[size] = '\0';
            size = 0U;
            if (!obey(line)) {
                (void)fprintf(stderr, "estim-avr-run: cannot: %s\n", line);
            }
        } else if (size < (sizeof line - 1U)) {
            size++;
        } else {
            size = 0U;
        }
    }
    return true;
}

static void take_line(void)
{
    uint8_t bytes[256];
    const ssize_t size = read(terminal, bytes, sizeof bytes);

    if (size > 0) {
        (void)machine_receive(0U, bytes, (size_t)size);
    }
}

static int run_in_real_time(void)
{
    const struct timespec slice = {.tv_sec = 0, .tv_nsec = SLICE_NS};
    struct timespec start;
    uint64_t skipped = 0U;

    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    for (;;) {
        const uint64_t wanted = (since_ns(&start) * NS_PER_CYCLE_DEN) / NS_PER_CYCLE_NUM;
        if ((wanted - skipped) > (machine_cycle() + BEHIND_CYCLES_MAX)) {
            skipped = wanted - machine_cycle() - BEHIND_CYCLES_MAX;
        }
        take_line();
        if (!take_commands()) {
            return EXIT_SUCCESS;
        }
        if (!machine_run_until(wanted - skipped)) {
            (void)fprintf(stderr, "estim-avr-run: the processor stopped\n");
            return EXIT_FAILURE;
        }
        (void)nanosleep(&slice, NULL);
    }
}

static void open_terminal(const char *link_path)
{
    struct termios raw;
    char name[128];
    int slave = -1;

    if (openpty(&terminal, &slave, name, NULL, NULL) != 0) {
        perror("estim-avr-run: pseudo-terminal");
        exit(EXIT_FAILURE);
    }
    (void)tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    (void)tcsetattr(slave, TCSANOW, &raw);
    (void)fcntl(terminal, F_SETFL, O_NONBLOCK);
    if (link_path != NULL) {
        (void)unlink(link_path);
        if (symlink(name, link_path) != 0) {
            perror("estim-avr-run: link");
            exit(EXIT_FAILURE);
        }
    }
    (void)fprintf(answers, "%s\n", name);
    (void)fflush(answers);
}

static _Noreturn void tell_usage(void)
{
    (void)fprintf(stderr, "usage: estim-avr-run [--pty] [--link PATH] [--trace FILE] [--load OHM] "
                          "IMAGE\n");
    exit(2);
}

int main(int count, char **words)
{
    static const struct option options[] = {{"pty", no_argument, NULL, 'p'},
                                            {"link", required_argument, NULL, 'l'},
                                            {"trace", required_argument, NULL, 't'},
                                            {"load", required_argument, NULL, 'o'},
                                            {NULL, 0, NULL, 0}};
    const char *link_path = NULL;
    FILE *trace = NULL;
    bool has_terminal = false;
    int option;

    while ((option = getopt_long(count, words, "", options, NULL)) != -1) {
        if (option == 'p') {
            has_terminal = true;
        } else if (option == 'l') {
            link_path = optarg;
        } else if (option == 't') {
            trace = fopen(optarg, "w");
            if (trace == NULL) {
                perror(optarg);
                return EXIT_FAILURE;
            }
            (void)setvbuf(trace, NULL, _IOLBF, 0U);
        } else if (option == 'o') {
            machine_set_load((uint32_t)strtoul(optarg, NULL, 10));
        } else {
            tell_usage();
        }
    }
    if (optind != (count - 1)) {
        tell_usage();
    }
    keep_output();
    machine_start(words[optind], trace, tell_sent, NULL);
    if (has_terminal) {
        open_terminal(link_path);
        return run_in_real_time();
    }
    return run_in_lock_step();
}
