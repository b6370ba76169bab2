// Money in whole cents, and as people write it: "18.90".

/** The form of an amount in a tool's arguments: EUR with two decimals, so that nothing is rounded on its way. */
export const AMOUNT_PATTERN = /^\d{1,6}\.\d{2}$/;

export const centsOf = (amount: string): number => Number(amount.replace(".", ""));
export const amountOf = (cents: number): string => `${Math.trunc(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;
