/* A library that a handler needs. */

__attribute__((visibility("default"))) const char needed_text[] = "needed";
