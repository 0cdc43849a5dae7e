export function fixed() { return null; }
