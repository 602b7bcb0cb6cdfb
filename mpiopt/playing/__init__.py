"""Games: methods for operators, and the driver that looks at residuals, gaps and distances."""
