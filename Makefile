# Everything below sets itself up: it needs python3 (3.11 or newer), make and the network.
#
#   make run      the terminal UI on the simulator; without a terminal, a demo session and its summary
#   make test     the tests, 3 minutes at most   make test-long  whole visits in the interface
#   make test-firmware  the reference firmware in C: agreement, coverage, MISRA, fuzzing; installs compilers
#   make test-labgrid   places of labgrid on loopback, in an environment of its own
#   make fuzz     fuzz the firmware for MINUTES=10          make mutants  mutants of its gate, 10 minutes
#   make check    formatting, types, imports, generated files, SAFETY.md against its tests
#   make assurance  each safety measure taken out of a copy: the tests of SAFETY.md notice, 10 minutes
#   make fuzz-python  fuzz the parsers in Python for MINUTES=10; TARGETS='profile record' KEEP=1
#   make sbom     bill of materials, CycloneDX      make audit    known vulnerabilities; needs the network
#   make contains which releases contain PACKAGE=...
#   make coverage-gate  kernel, session and protocol: every line, every branch, in a minute
#   make mutants-python mutants of the kernel and of the gate in Python (EVERY=10: each tenth)
#   make bench    benchmarks, JSON lines        make smoke    install the wheel elsewhere and use it
#   make soak     an hour on a busy machine (HOURS=1)    make faults   each fault TRIALS=200 times
#   make monkey   random keys on the interface for MINUTES=1 (SEED=1), the simulator's trace as judge
#   make campaign   whole sessions under SEEDS=2000 scripts of faults, on one virtual clock, judged
#   make campaign-single  one fault at every step of three sessions   make campaign-bugs  the campaign, checked
#   make agreement  kernel against samples over TRIALS=10000 random programmes
#   make model  every state of host, line and device (BOUND=large, BOUND=everything)
#   make coverage tests with branch coverage    make lock     pin again (UPGRADE=1: to the newest)
#   make pictures every picture of README and docs, from the application itself
#   make clean    remove what these made        PYTHON=...    another interpreter

PYTHON ?= python3
override VENV := .venv
override VENV_PYTHON := $(VENV)/bin/python
override LABGRID_VENV := .venv-labgrid
override AUDIT_VENV := .venv-audit

PIP_INSTALL := $(VENV_PYTHON) -m pip install --quiet --no-input --disable-pip-version-check \
	--require-hashes

# The interpreter is part of the stamp's name, so that another PYTHON builds another environment.
PYTHON_TAG := $(shell $(PYTHON) -c 'import sys; print(sys.implementation.cache_tag)' 2>/dev/null)
RUN_STAMP := $(VENV)/.run-$(PYTHON_TAG)
DEV_STAMP := $(VENV)/.dev-$(PYTHON_TAG)
LABGRID_STAMP := $(LABGRID_VENV)/.labgrid-$(PYTHON_TAG)
FUZZ_STAMP := $(VENV)/.fuzz-$(PYTHON_TAG)
AUDIT_STAMP := $(AUDIT_VENV)/.audit-$(PYTHON_TAG)

.PHONY: run test test-long test-firmware test-labgrid fuzz fuzz-python sbom audit contains mutants mutants-python model assurance check generate pictures bench soak faults monkey campaign campaign-single campaign-bugs agreement coverage coverage-gate smoke lock clean

run: $(RUN_STAMP)
	@$(VENV_PYTHON) -m estim

test: $(DEV_STAMP)
	@$(VENV_PYTHON) -m pytest -n 3 --dist worksteal -m 'not long and not emulated' -rs

# Whole visits, the technician's bench, records and the browser's page, all through the interface.
test-long: $(DEV_STAMP)
	@$(VENV_PYTHON) -m pytest -n 3 --dist worksteal -m long --durations=60

# In under 3 minutes; what it needs from Debian it installs where it may.
test-firmware: $(DEV_STAMP)
	@PYTHON="$(VENV_PYTHON)" .ci/firmware

# In an environment of its own: labgrid brings a fork of pyserial, under the same name.
test-labgrid: $(LABGRID_STAMP)
	@$(LABGRID_VENV)/bin/python -m pytest -rs tests/labgrid

# Ends at the first input that breaks an invariant, and keeps it; the corpus grows from run to run.
fuzz:
	@$(MAKE) --silent -C firmware_protocol/c fuzz SECONDS=$$((60 * $(or $(MINUTES),10)))

# One JSON line for each safety measure taken out; fails if the tests named in SAFETY.md did not notice.
assurance: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.assurance.broken

# One JSON line for each target; ends at the first input that breaks an invariant, and keeps it.
fuzz-python: $(FUZZ_STAMP)
	@$(VENV_PYTHON) -m tests.fuzz --minutes $(or $(MINUTES),10) $(if $(KEEP),--keep) $(TARGETS)

# The same checkout gives the same bytes; licences are read where `make run` installed the packages.
sbom: $(RUN_STAMP) $(AUDIT_STAMP)
	@$(AUDIT_VENV)/bin/python -m tests.supply.sbom --output build/estim-sbom.json \
		--packages $$($(VENV_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

# Fails with 1 where something is known, with 3 where the database cannot be asked.
audit: $(AUDIT_STAMP)
	@$(AUDIT_VENV)/bin/python -m tests.supply.audit

contains: $(RUN_STAMP)
	@$(VENV_PYTHON) -m tests.supply.contains $(PACKAGE)

# One JSON object; fails if a mutant lives that is not known to be equivalent.
mutants: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.firmware.mutants

# The same for the kernel and for the gate in Python.
mutants-python: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.mutation --every $(or $(EVERY),1)

check: $(DEV_STAMP)
	@$(VENV)/bin/ruff format --check
	@$(VENV)/bin/ruff check
	@$(VENV_PYTHON) -m mypy
	@$(VENV)/bin/lint-imports
	@$(VENV_PYTHON) -m firmware_protocol.generate --check
	@$(VENV_PYTHON) -m estim.session.diagram --check
	@$(VENV_PYTHON) -m estim.rig.conformance.page --check
	@$(VENV_PYTHON) -m tests.assurance --check

# What is derived: PROTOCOL.md, vectors, the limits table, the state diagram, the requirements.
generate: $(RUN_STAMP)
	@$(VENV_PYTHON) -m firmware_protocol.generate
	@$(VENV_PYTHON) -m estim.session.diagram
	@$(VENV_PYTHON) -m estim.rig.conformance.page

# In real time, on the simulator: five minutes. What has not changed is left as it is.
pictures: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.tui.pictures

bench: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.benchmarks

# One JSON object; fails if anything stopped the output.
soak: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.soak --hours $(or $(HOURS),1)

# One JSON line for each kind of fault; fails if anything was not as it must be.
faults: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.soak.faults --trials $(or $(TRIALS),200)

# One JSON object; fails if current flowed that nobody armed, above a ceiling, or after the stop key.
monkey: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.soak.monkey --minutes $(or $(MINUTES),1) --seed $(or $(SEED),1)

# One JSON object; fails if a promise was broken. The scripts that broke one are kept, shrunk.
campaign: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.campaign run --seeds $(or $(SEEDS),2000) --first $(or $(FIRST),0) \
		$(if $(JOBS),--jobs $(JOBS)) --keep $(or $(KEEP),build/campaign)

# Every fault alone at every step, or every EVERY=1 of them.
campaign-single: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.campaign.single --every $(or $(EVERY),1) $(if $(JOBS),--jobs $(JOBS))

# One JSON object; fails if a bug of the table is not found within 1000 seeds.
campaign-bugs: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.campaign.bugs $(if $(JOBS),--jobs $(JOBS))

# One JSON object; fails if the kernel's figures and those of the rendered samples disagree.
agreement: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.soak.agreement --trials $(or $(TRIALS),10000)

# JSON lines, one a scene; a trace and a failure where an invariant breaks (docs/model.md).
model: $(DEV_STAMP)
	@$(VENV_PYTHON) -m tests.model $(or $(BOUND),ci)

coverage: $(DEV_STAMP)
	@$(VENV_PYTHON) -m pytest -n 3 --dist worksteal --cov --cov-report=term

# Fails where a line or a branch of these is lost; by tests that are written down alone, so that no
# draw of Hypothesis decides.
coverage-gate: $(DEV_STAMP)
	@$(VENV_PYTHON) -m pytest tests/safety tests/session tests/protocol -q -n 2 --dist worksteal \
		-m 'not long and not emulated and not hypothesis' --cov-branch --cov-fail-under=100 \
		--cov=estim/safety --cov=estim/session --cov=firmware_protocol --cov-report=term-missing

# As a newcomer installs it: a fresh environment, away from the checkout.
smoke:
	@PYTHON="$(PYTHON)" .ci/smoke

# Pinned with hashes for every platform, one version for all Pythons; no registry address in the files.
LOCK = $(VENV)/bin/uv pip compile --quiet --no-config $(if $(UPGRADE),--upgrade) \
	--universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

lock: $(RUN_STAMP)
	@echo 'estim: pinning dependencies'
	@$(PIP_INSTALL) --requirement requirements/lock.txt
	@$(LOCK) pyproject.toml --all-extras --output-file requirements/run.txt
	@$(LOCK) pyproject.toml --all-extras --group dev --constraints requirements/run.txt \
		--output-file requirements/dev.txt
	@$(LOCK) pyproject.toml --group labgrid --constraints requirements/run.txt \
		--no-emit-package pyserial --output-file requirements/labgrid.txt
	@$(LOCK) --group audit --output-file requirements/audit.txt
	@$(LOCK) --group fuzz --constraints requirements/dev.txt --output-file requirements/fuzz.txt
	@$(LOCK) --group lock --output-file requirements/lock.txt

clean:
	rm -rf $(VENV) $(LABGRID_VENV) $(AUDIT_VENV) build dist .coverage .coverage.* .hypothesis .mypy_cache .ruff_cache \
		.pytest_cache .import_linter_cache
	find estim firmware_protocol tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Rebuilt from nothing when the lock or the interpreter changes, so that nothing unpinned survives.
$(RUN_STAMP): requirements/run.txt
	@$(CHECK_PYTHON)
	@echo "estim: setting up $(VENV) with $$($(PYTHON) --version) (once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP_INSTALL) --requirement requirements/run.txt
	@$(LINK_CHECKOUT)
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) requirements/dev.txt
	@echo 'estim: adding the tools for tests and checks (once)'
	@$(PIP_INSTALL) --requirement requirements/dev.txt
	@touch $@

$(LABGRID_STAMP): requirements/labgrid.txt
	@$(CHECK_PYTHON)
	@echo "estim: setting up $(LABGRID_VENV) with $$($(PYTHON) --version) (once)"
	@$(PYTHON) -m venv --clear $(LABGRID_VENV)
	@$(subst $(VENV_PYTHON),$(LABGRID_VENV)/bin/python,$(PIP_INSTALL)) --requirement requirements/labgrid.txt
	@$(subst $(VENV_PYTHON),$(LABGRID_VENV)/bin/python,$(LINK_CHECKOUT))
	@touch $@

$(FUZZ_STAMP): $(DEV_STAMP) requirements/fuzz.txt
	@echo 'estim: adding the fuzzer (once)'
	@$(PIP_INSTALL) --requirement requirements/fuzz.txt
	@touch $@

# It needs estim itself too, but nothing of what the lock pins.
$(AUDIT_STAMP): requirements/audit.txt
	@$(CHECK_PYTHON)
	@echo "estim: setting up $(AUDIT_VENV) with $$($(PYTHON) --version) (once)"
	@$(PYTHON) -m venv --clear $(AUDIT_VENV)
	@$(subst $(VENV_PYTHON),$(AUDIT_VENV)/bin/python,$(PIP_INSTALL)) --requirement requirements/audit.txt
	@$(subst $(VENV_PYTHON),$(AUDIT_VENV)/bin/python,$(LINK_CHECKOUT))
	@touch $@

# The environment finds this checkout wherever a command runs, and nothing has to be built for it.
# The path is relative to site-packages: a moved or copied checkout never runs another one's code.
LINK_CHECKOUT = site=$$($(VENV_PYTHON) -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
	&& echo ../../../.. > "$$site/estim-checkout.pth"

CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo 'estim: Python 3.11 or newer is needed, and "$(PYTHON)" is not one.' >&2; \
	echo 'estim: install it, or name one: make $(MAKECMDGOALS) PYTHON=python3.12' >&2; exit 1; }; \
	$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	echo 'estim: "$(PYTHON)" comes without venv and ensurepip.' >&2; \
	echo 'estim: install them (Debian, Ubuntu: apt-get install python3-venv)' >&2; exit 1; }
