"""Simulation of emitted hardware with a hand-written bench in its own language: no cocotb, no code of the compiler.

The second opinion of these tests: one sample per clock cycle goes in, the answer is read ``latency`` cycles later.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from difflut_compiler.emit import BuildPlan
from tests.compiler.needs import need

VERILOG_BENCH = """
module bench;
  reg clk = 0;
  reg [{high}:0] features;
  wire [{out_high}:0] class_index;
  reg [{high}:0] rows [0:{samples} - 1];
  integer cycle;
  {top} dut ({clock}.features(features), .class_index(class_index));
  initial begin
    $readmemb("rows.txt", rows);
    for (cycle = 0; cycle < {samples} + {latency}; cycle = cycle + 1) begin
      features = rows[cycle < {samples} ? cycle : {samples} - 1];
      #5 if (cycle >= {latency}) $display("%b", class_index);
      clk = 1;
      #5 clk = 0;
    end
  end
endmodule
"""

VHDL_BENCH = """
use std.textio.all;
library ieee;
use ieee.std_logic_1164.all;

entity bench is
end entity;

architecture sim of bench is
  signal clk : std_logic := '0';
  signal features : std_logic_vector({high} downto 0);
  signal class_index : {out_type};
begin
  dut : entity work.{top} port map ({clock}features => features, class_index => class_index);

  process
    file rows : text open read_mode is "rows.txt";
    variable text_in, text_out : line;
    variable word : std_logic_vector({high} downto 0);
  begin
    for cycle in 0 to {samples} + {latency} - 1 loop
      if not endfile(rows) then
        readline(rows, text_in);
        read(text_in, word);
      end if;
      features <= word;
      wait for 5 ns;
      if cycle >= {latency} then
        write(text_out, class_index);
        writeline(output, text_out);
      end if;
      clk <= '1';
      wait for 5 ns;
      clk <= '0';
    end loop;
    wait;
  end process;
end architecture;
"""


def answers(plan: BuildPlan, words: Sequence[int], folder: Path) -> list[str]:
    """The output ``class_index`` for each word of the port ``features``, as binary digits (or x, U, ... )."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in plan.files.items():
        (folder / name).write_text(text)
    (folder / "rows.txt").write_text("".join(f"{word:0{plan.feature_bits}b}\n" for word in words))
    clocked = plan.latency_cycles > 0
    bits = plan.outputs["class_index"]
    settings = {
        "top": plan.top,
        "high": plan.feature_bits - 1,
        "out_high": bits - 1,
        "out_type": "std_logic" if bits == 1 else f"std_logic_vector({bits - 1} downto 0)",
        "samples": len(words),
        "latency": plan.latency_cycles,
    }
    if plan.language != "vhdl":
        output = _run_icarus(plan, VERILOG_BENCH.format(clock=".clk(clk), " * clocked, **settings), folder)
    else:
        output = _run_ghdl(plan, VHDL_BENCH.format(clock="clk => clk, " * clocked, **settings), folder)
    return output.split()


def _run_icarus(plan: BuildPlan, bench: str, folder: Path) -> str:
    iverilog = need("iverilog")
    (folder / "bench.v").write_text(bench)
    standard = "-g2005" if plan.language == "verilog" else "-g2012"
    _run([str(iverilog), standard, "-s", "bench", "-o", "bench.vvp", "bench.v", *plan.files], folder)
    return _run([str(iverilog.parent / "vvp"), "-n", "bench.vvp"], folder)


def _run_ghdl(plan: BuildPlan, bench: str, folder: Path) -> str:
    ghdl = str(need("ghdl"))
    (folder / "bench.vhd").write_text(bench)
    _run([ghdl, "-a", "--std=08", *plan.files, "bench.vhd"], folder)
    return _run([ghdl, "--elab-run", "--std=08", "bench", "--ieee-asserts=disable"], folder)


def _run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def as_answers(classes: Sequence[int], plan: BuildPlan) -> list[str]:
    """Class numbers as the bench prints them."""
    return [f"{number:0{plan.outputs['class_index']}b}" for number in classes]
