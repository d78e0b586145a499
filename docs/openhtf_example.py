"""A station in OpenHTF: one phase with measurements, on a dummy load with nobody connected.

Run as `python docs/openhtf_example.py native:/dev/ttyUSB0 DUT-0001`; results go to result.json.
"""

import sys

import openhtf as htf
from openhtf.output.callbacks import json_factory

import estim.api
from estim.profile.library import find

BENCH_OHM = 500
TARGET_MA = 3


@htf.measures(
    htf.Measurement("serial_number"),
    htf.Measurement("plateau_ms").in_range(2000, 2300),
    htf.Measurement("pulses").in_range(160, 2000),
    htf.Measurement("fault").equals(""),
)
def delivers(test: htf.TestApi) -> None:
    """Deliver two seconds at the target and measure what the device counted."""
    with estim.api.open(test.state["url"], bench_ohm=BENCH_OHM) as stimulator:
        test.measurements.serial_number = stimulator.identify().serial_number
        stimulator.prepare(find("dpn-conventional"), duration_s=2)
        stimulator.arm()
        stimulator.start()
        stimulator.set_targets_ua((TARGET_MA * 1000, 0))
        result = stimulator.wait_until_finished()
    test.measurements.plateau_ms = result.plateau_ms
    test.measurements.pulses = result.pulse_counts[0]
    test.measurements.fault = result.fault
    test.attach_from_file(result.record_path)


def main() -> int:
    """Run the station once; return 0 where it passed."""
    url, dut_id = sys.argv[1:]

    def open_url(test: htf.TestApi) -> None:
        test.state["url"] = url

    test = htf.Test(open_url, delivers, test_name="estim bench")
    test.add_output_callbacks(json_factory.OutputToJSON("result.json", indent=2))
    return 0 if test.execute(test_start=lambda: dut_id) else 1


if __name__ == "__main__":
    sys.exit(main())
