// The two pages: one run in full, several side by side. Everything comes out of the reports and is escaped.
#pragma once

#include <string>
#include <vector>

#include "pare/pipeline/report_values.h"

namespace pare {

std::string one_run_page(Field report);
std::string comparison_page(const std::vector<Field>& reports);

std::string runs_text(const std::vector<Field>& reports);  // for a terminal

// Begins every page: how `pare report` knows a page of its own, which it may write over.
inline constexpr std::string_view kPageMark = "<!doctype html>\n<!-- Pare report -->\n";

// What both pages are made of.
std::string whole_page(const std::string& title, const std::string& body);
std::string section(const std::string& heading, const std::string& note, const std::string& content);  // "" if empty
std::string bytes_words(std::optional<double> bytes);  // "" when unknown
std::string model_name(Field report);
std::string with_error(std::optional<double> value, std::optional<double> error, int digits);  // "15.24 ± 0.12"

}  // namespace pare
