// Randomness, as the kernel is given it.

export interface Random {
  /** `size` bytes that nobody can foretell. */
  bytes(size: number): Uint8Array;
}
