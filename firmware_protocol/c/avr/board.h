/* The board: which pin does what. ELECTRONICS.md says what it expects to be wired to them. */

#ifndef EST_AVR_BOARD_H
#define EST_AVR_BOARD_H

#include <avr/io.h>

#define CYCLES_PER_US 16U

/* Port B: the two directions of the current, from output compare alone, and the DAC. */
#define PIN_POSITIVE PB1 /* OC1A */
#define PIN_NEGATIVE PB2 /* OC1B */
#define PIN_DAC_DATA PB3
#define PIN_DAC_CLOCK PB5
#define POLARITY_PINS ((1U << PIN_POSITIVE) | (1U << PIN_NEGATIVE))

/* Port D: PD0 and PD1 are the line. */
#define PIN_PATIENT_STOP PD2 /* high: pressed, or its wire is off */
#define PIN_ENABLE PD3       /* high: the stage may drive the leads */
#define PIN_STAGE_TRIPPED PD4 /* high: the stage's own limit has tripped, or its wire is off */
#define PIN_DAC_SELECT PD7   /* low: selected */

/* Port C, analogue. */
#define ADC_CURRENT 0U
#define ADC_VOLTAGE 1U
#define UA_PER_COUNT UINT32_C(100)  /* of the current, by the ADC */
#define MV_PER_COUNT UINT32_C(125)  /* of the voltage */
#define DAC_UA_PER_COUNT 20U

#endif
