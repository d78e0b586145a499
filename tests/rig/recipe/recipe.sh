#!/bin/sh
# From flash to verdict: one device on the bench, nobody connected. Copy it, and set
#
#   DEVICE    where it answers: native:/dev/ttyUSB0               (needed)
#   FLASH     what flashes it: 'avrdude -p m328p ... -U flash:w:firmware.hex'
#   CAPTURE   what writes what reaches the load to its standard output until SIGTERM ends it
#   MEASURE   how that is read: '--load 500 --column CH1 --instrument scope.toml'
#   CONFORMANCE  more words for it: '--scope recording.csv', '--only LEASE'
#   BENCH     the dummy load: 500, 2000 or 10000    PROFILE, AMPLITUDE_MA  what is played, dpn-conventional at 3
#   OUT       a folder of its own for this run: table, reports, records
#
# Exit code 0: it passed. 1: it failed. 3: rig or host are to be mended, nothing is said of it.
set -u

DEVICE=${DEVICE:?such as native:/dev/ttyUSB0}
BENCH=${BENCH:-500}
PROFILE=${PROFILE:-dpn-conventional}
AMPLITUDE_MA=${AMPLITUDE_MA:-3}
OUT=${OUT:-recipe-$(date +%Y%m%d-%H%M%S)}
mkdir -p "$OUT" || exit 3

# do_it TASK JUNIT COMMAND...: do a step, and enter in the table how it ended.
do_it() {
    task=$1 junit=$2
    shift 2
    echo "== $task" >&2
    "$@" >"$OUT/$task.txt" 2>"$OUT/$task.err"
    code=$?
    [ -f "$junit" ] || [ "$code" -eq 0 ] || junit=
    estim campaign add "$OUT" ${junit:+--junit "$junit"} --task "$task" --device "$DEVICE" \
        --exit-code "$code" --text "$(tail -n 1 "$OUT/$task.err")" >>"$OUT/table.txt"
    return "$code"
}

# Play it, with the instrument on.
play() {
    sh -c "$CAPTURE" >"$OUT/capture.csv" &
    capture=$!
    sleep 1
    estim run "$PROFILE" --device "$DEVICE" --bench "$BENCH" --amplitude "1=$AMPLITUDE_MA" \
        --duration 5 --records "$OUT/records"
    played=$?
    sleep 1
    kill "$capture" 2>/dev/null || { echo 'the capture ended by itself' >&2; played=3; }
    wait "$capture" 2>/dev/null
    return "$played"
}

# A rig that is not sound judges no device.
check_rig() {
    [ -z "${FLASH:-}" ] || do_it flash '' sh -c "$FLASH" || return
    do_it wait '' estim devices "$DEVICE" --wait 30 || return
    do_it self-check '' estim doctor --device "$DEVICE" --bench "$BENCH" --nobody-connected
}

if check_rig; then
    # shellcheck disable=SC2086
    do_it conformance "$OUT/conformance.xml" estim conformance --device "$DEVICE" \
        --bench "$BENCH" --nobody-connected --junit "$OUT/conformance.xml" ${CONFORMANCE:-}
    do_it characterise '' estim characterise --device "$DEVICE" --bench "$BENCH" \
        --nobody-connected --load "$BENCH" --amplitude "$AMPLITUDE_MA" --profile "$PROFILE" \
        --records "$OUT/records" --json
    if [ -n "${CAPTURE:-}" ] && do_it play '' play; then
        # shellcheck disable=SC2086
        do_it measure "$OUT/measure.xml" estim measure "$OUT/capture.csv" --profile "$PROFILE" \
            --amplitude "$AMPLITUDE_MA" --junit "$OUT/measure.xml" ${MEASURE:-}
    fi
fi
estim campaign verdict "$OUT"
