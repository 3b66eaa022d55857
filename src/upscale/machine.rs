//! What this machine has: cores, memory, disk, graphics cards.
