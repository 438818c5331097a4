/* librccl.so.1 of paper: RCCL keeps NCCL's names and numbers. */
#include "nccl.c"
