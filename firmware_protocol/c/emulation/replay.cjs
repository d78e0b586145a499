// Play what the line carried under simavr into the same image under avr8js.
//
//   node replay.cjs FLASH TRACE UNTIL_CYCLE
//
// FLASH is the image as plain bytes, TRACE that of estim-avr-run: its `line` rows are played, byte by
// byte, from the same cycles. The trace of this run, in the same form, goes to standard output.

"use strict";

const fs = require("node:fs");
const avr8js = require("avr8js");

const HZ = 16_000_000;
const RAM_SIZE = 2048;
const SLEEP = 0x9588;
const PORT_D_INPUTS = { patientStop: 2, tripped: 4 };
const PINS = { positive: ["B", 1], negative: ["B", 2], enable: ["D", 3] };
const DAC_SELECT = 7;
const DAC_UA_PER_COUNT = 20;
const LOAD_OHM = 500;
const SUPPLY_V = 5;
const CURRENT_FULL_UA = 102_400;
const VOLTAGE_FULL_MV = 128_000;
// Pins are looked at between two instructions only: no more than this late.
const HANDLED_LATE_MAX = 8;

const [flashPath, tracePath, untilText] = process.argv.slice(2);
const until = Number(untilText);
const flash = fs.readFileSync(flashPath);
const program = new Uint16Array(0x4000);
for (let at = 0; at + 1 < flash.length; at += 2) {
  program[at / 2] = flash[at] | (flash[at + 1] << 8);
}
const line = fs
  .readFileSync(tracePath, "utf8")
  .split("\n")
  .map((row) => row.split(","))
  .filter((row) => row[1] === "line")
  .map((row) => ({ cycle: Number(row[0]), byte: Number(row[2]) }));

const cpu = new avr8js.CPU(program, RAM_SIZE);
const ports = {
  B: new avr8js.AVRIOPort(cpu, avr8js.portBConfig),
  C: new avr8js.AVRIOPort(cpu, avr8js.portCConfig),
  D: new avr8js.AVRIOPort(cpu, avr8js.portDConfig),
};
new avr8js.AVRTimer(cpu, avr8js.timer0Config);
const timer1 = new avr8js.AVRTimer(cpu, avr8js.timer1Config);
const usart = new avr8js.AVRUSART(cpu, avr8js.usart0Config, HZ);
const spi = new avr8js.AVRSPI(cpu, avr8js.spiConfig, HZ);
const adc = new avr8js.AVRADC(cpu, avr8js.adcConfig);
new avr8js.AVRWatchdog(cpu, avr8js.watchdogConfig, new avr8js.AVRClock(cpu, HZ));
for (const pin of Object.values(PORT_D_INPUTS)) {
  ports.D.setPin(pin, false);
}

const rows = ["cycle,signal,value,handled"];
const isHigh = { positive: false, negative: false, enable: false };
let isSelected = false;
let dacWord = 0;

function note(cycle, signal, number) {
  rows.push(`${cycle},${signal},${number},${cpu.cycles}`);
}

function matchCycle(signal) {
  const compare = { positive: timer1.ocrA, negative: timer1.ocrB }[signal];
  const late = compare === undefined ? 0 : (timer1.tcnt - compare) & 0xffff;
  return late <= HANDLED_LATE_MAX ? cpu.cycles - late : cpu.cycles;
}

function follow() {
  for (const [signal, [port, pin]] of Object.entries(PINS)) {
    const level = ports[port].pinState(pin) === avr8js.PinState.High;
    if (level !== isHigh[signal]) {
      isHigh[signal] = level;
      note(matchCycle(signal), signal, level ? 1 : 0);
    }
  }
  const selected = ports.D.pinState(DAC_SELECT) === avr8js.PinState.Low;
  if (isSelected && !selected) {
    note(cpu.cycles, "dac", dacWord);
  }
  isSelected = selected;
}

ports.B.addListener(follow);
ports.D.addListener(follow);
spi.onTransfer = (byte) => {
  dacWord = isSelected ? ((dacWord << 8) | byte) & 0xffff : dacWord;
  return 0;
};

const readAdc = adc.onADCRead;
adc.onADCRead = (input) => {
  const flows = isHigh.enable && isHigh.positive !== isHigh.negative;
  const currentUa = flows ? (dacWord & 0xfff) * DAC_UA_PER_COUNT : 0;
  adc.channelValues[0] = (currentUa * SUPPLY_V) / CURRENT_FULL_UA;
  adc.channelValues[1] = (((currentUa * LOAD_OHM) / 1000) * SUPPLY_V) / VOLTAGE_FULL_MV;
  readAdc(input);
};

// avr8js forgets a byte that has come whenever UCSR0B is written, as for sending; a chip does not.
const { UCSRA, UCSRB } = avr8js.usart0Config;
const RXC = 0x80;
const writeUcsrb = cpu.writeHooks[UCSRB];
cpu.writeHooks[UCSRB] = (...change) => {
  const isUnread = (cpu.data[UCSRA] & RXC) !== 0;
  const isDone = writeUcsrb(...change);
  if (isUnread) {
    cpu.setInterruptFlag(usart.RXC);
  }
  return isDone;
};

// avr8js keeps one byte, a chip two and a third that is whole but not moved on yet: kept here.
const BYTE_CYCLES = 320;
const UNREAD_MAX = 3;
const unread = [];
let lostCount = 0;

function deliver() {
  const isUnread = (cpu.data[UCSRA] & RXC) !== 0;
  while (line.length > 0 && line[0].cycle + BYTE_CYCLES <= cpu.cycles) {
    if (unread.length + (isUnread ? 1 : 0) >= UNREAD_MAX) {
      lostCount++;
      line.shift();
    } else {
      unread.push(line.shift().byte);
    }
  }
  if (!isUnread && unread.length > 0) {
    usart.writeByte(unread.shift(), true);
  }
}

function step() {
  const wereOff = !cpu.interruptsEnabled;
  avr8js.avrInstruction(cpu);
  // After interrupts come on, a chip executes one more instruction before it takes one: compilers
  // rely on it while they move the stack pointer. avr8js takes it at once.
  if (wereOff && cpu.interruptsEnabled) {
    avr8js.avrInstruction(cpu);
  }
  cpu.tick();
  deliver();
}

while (cpu.cycles < until) {
  const sleeps = cpu.progMem[cpu.pc] === SLEEP;
  const awake = cpu.pc + 1;
  step();
  // avr8js does not sleep: until an interrupt is taken, nothing but time passes.
  while (sleeps && cpu.pc === awake && cpu.cycles < until) {
    cpu.cycles++;
    cpu.tick();
    deliver();
  }
}
note(cpu.cycles, "lost", lostCount);
process.stdout.write(`${rows.join("\n")}\n`);
