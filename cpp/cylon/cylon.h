/// Everything a C++ user of Cylon includes.
#pragma once

#include "cylon/base/error.h"
#include "cylon/base/options.h"
#include "cylon/comm/context.h"
#include "cylon/exchange/exchange.h"
#include "cylon/io/read.h"
#include "cylon/io/write.h"
#include "cylon/ops/column.h"
#include "cylon/ops/group_by.h"
#include "cylon/ops/group_head.h"
#include "cylon/ops/group_top.h"
#include "cylon/ops/join.h"
#include "cylon/ops/rows.h"
#include "cylon/ops/set_operations.h"
#include "cylon/ops/sort.h"
#include "cylon/ops/top_k.h"
#include "cylon/table/table.h"
