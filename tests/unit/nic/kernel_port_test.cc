#include "edge.h"
