// Element-wise reduction: one table of types, one of operations.
#include "cylon/comm/reduce.h"

#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>

namespace cylon::internal {

namespace {

/// Calls `visit` with a value of the C++ type behind `type`; false for a type that is not reduced. A bool is a byte.
template <typename Visit>
bool WithType(ElementType type, Visit visit) {
  switch (type) {
    case arrow::Type::BOOL:
      visit(bool{});
      return true;
    case arrow::Type::INT8:
      visit(int8_t{});
      return true;
    case arrow::Type::INT16:
      visit(int16_t{});
      return true;
    case arrow::Type::INT32:
      visit(int32_t{});
      return true;
    case arrow::Type::INT64:
      visit(int64_t{});
      return true;
    case arrow::Type::UINT8:
      visit(uint8_t{});
      return true;
    case arrow::Type::UINT16:
      visit(uint16_t{});
      return true;
    case arrow::Type::UINT32:
      visit(uint32_t{});
      return true;
    case arrow::Type::UINT64:
      visit(uint64_t{});
      return true;
    case arrow::Type::FLOAT:
      visit(float{});
      return true;
    case arrow::Type::DOUBLE:
      visit(double{});
      return true;
    default:
      return false;
  }
}

/// Wraps around where a signed type would overflow; 64 bits also keep small types from being promoted to int.
template <typename T>
T Wrapped(uint64_t value) {
  return static_cast<T>(value);
}

template <typename T>
T Combine(ReduceOp op, T left, T right) {
  constexpr bool kFloat = std::is_floating_point_v<T>;
  constexpr bool kBool = std::is_same_v<T, bool>;
  switch (op) {
    case ReduceOp::kSum:
      if constexpr (kBool) {
        return left || right;
      } else if constexpr (kFloat) {
        return left + right;
      } else {
        return Wrapped<T>(static_cast<uint64_t>(left) + static_cast<uint64_t>(right));
      }
    case ReduceOp::kProd:
      if constexpr (kBool) {
        return left && right;
      } else if constexpr (kFloat) {
        return left * right;
      } else {
        return Wrapped<T>(static_cast<uint64_t>(left) * static_cast<uint64_t>(right));
      }
    case ReduceOp::kMin:
      if constexpr (kFloat) {
        if (std::isnan(left) || std::isnan(right)) {
          return std::isnan(left) ? left : right;
        }
      }
      return right < left ? right : left;
    case ReduceOp::kMax:
      if constexpr (kFloat) {
        if (std::isnan(left) || std::isnan(right)) {
          return std::isnan(left) ? left : right;
        }
      }
      return left < right ? right : left;
    case ReduceOp::kLogicalAnd:
      return static_cast<T>(left != T{} && right != T{});
    case ReduceOp::kLogicalOr:
      return static_cast<T>(left != T{} || right != T{});
    case ReduceOp::kBitAnd:
      if constexpr (!kFloat) {
        return static_cast<T>(left & right);
      }
      break;
    case ReduceOp::kBitOr:
      if constexpr (!kFloat) {
        return static_cast<T>(left | right);
      }
      break;
  }
  return left;  // bit operations on floats: CheckReduction refuses them
}

template <typename T>
void ReduceTyped(ReduceOp op, const uint8_t* left, const uint8_t* right, uint8_t* out, int64_t bytes) {
  // Buffers from the network or from Python need not be aligned; memcpy of a known size is one load.
  using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;
  for (int64_t at = 0; at < bytes; at += static_cast<int64_t>(sizeof(Stored))) {
    Stored a;
    Stored b;
    std::memcpy(&a, left + at, sizeof(Stored));
    std::memcpy(&b, right + at, sizeof(Stored));
    const auto result = static_cast<Stored>(Combine<T>(op, static_cast<T>(a), static_cast<T>(b)));
    std::memcpy(out + at, &result, sizeof(Stored));
  }
}

}  // namespace

int64_t ElementWidth(ElementType type) {
  int64_t width = 0;
  WithType(type, [&](auto value) { width = sizeof(value); });
  return width;
}

std::string ElementName(ElementType type) {
  switch (type) {
    case arrow::Type::BOOL:
      return "bool";
    case arrow::Type::INT8:
      return "int8";
    case arrow::Type::INT16:
      return "int16";
    case arrow::Type::INT32:
      return "int32";
    case arrow::Type::INT64:
      return "int64";
    case arrow::Type::UINT8:
      return "uint8";
    case arrow::Type::UINT16:
      return "uint16";
    case arrow::Type::UINT32:
      return "uint32";
    case arrow::Type::UINT64:
      return "uint64";
    case arrow::Type::FLOAT:
      return "float";
    case arrow::Type::DOUBLE:
      return "double";
    default:
      return "type " + std::to_string(static_cast<int>(type));
  }
}

std::string_view ReduceOpName(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return "sum";
    case ReduceOp::kMin:
      return "min";
    case ReduceOp::kMax:
      return "max";
    case ReduceOp::kProd:
      return "prod";
    case ReduceOp::kLogicalAnd:
      return "logical and";
    case ReduceOp::kLogicalOr:
      return "logical or";
    case ReduceOp::kBitAnd:
      return "bit and";
    case ReduceOp::kBitOr:
      return "bit or";
  }
  return "unknown operation";
}

arrow::Status CheckReduction(ElementType type, ReduceOp op, int64_t bytes) {
  const int64_t width = ElementWidth(type);
  if (width == 0) {
    return arrow::Status::Invalid("a reduction over elements of ", ElementName(type),
                                  " is not possible; expected bool, an integer of 8 to 64 bits, float or double; "
                                  "cast the values first");
  }
  if (static_cast<int>(op) > static_cast<int>(ReduceOp::kBitOr)) {
    return arrow::Status::Invalid("reduction operation ", static_cast<int>(op), " is unknown; expected 0 (sum) to ",
                                  static_cast<int>(ReduceOp::kBitOr), " (bit or)");
  }
  const bool bits = op == ReduceOp::kBitAnd || op == ReduceOp::kBitOr;
  if (bits && (type == arrow::Type::FLOAT || type == arrow::Type::DOUBLE)) {
    return arrow::Status::Invalid("'", ReduceOpName(op), "' does not apply to ", ElementName(type),
                                  "; expected an integer type or bool; use 'logical ",
                                  op == ReduceOp::kBitAnd ? "and" : "or", "', or cast to an integer");
  }
  if (bytes % width != 0) {
    return arrow::Status::Invalid("a reduction got a buffer of ", bytes, " bytes; expected a whole number of ",
                                  ElementName(type), " (", width, " bytes each); check its length and type");
  }
  return arrow::Status::OK();
}

void ReduceInto(ElementType type, ReduceOp op, const uint8_t* left, const uint8_t* right, uint8_t* out, int64_t bytes) {
  WithType(type, [&](auto value) { ReduceTyped<decltype(value)>(op, left, right, out, bytes); });
}

}  // namespace cylon::internal
