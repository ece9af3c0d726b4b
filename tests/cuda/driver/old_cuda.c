/* A driver that is too old: it says its version, and that is all it can do. */
__attribute__((visibility("default"))) int cuDriverGetVersion(int* version) {
  *version = 10020;
  return 0;
}
